"""L3Rec: Local Large Language Models for Recommendation (Jeon, Kim, Lee; CIKM 2025, doi 10.1145/3746252.3761280).

Divide (section 4.1, ``models.communities``), conquer (section 4.2, here), combine (section 4.3,
``models.contract.fusion``):

- ``config``: how the local models are built and trained;
- ``item_vectors``: the items' texts, read once;
- ``training_set``: D_j of equation 3;
- ``item_token``, ``title``: the training of the global model and of the communities', in each of the two forms;
- ``forms``: the choice between these;
- ``files``: what they leave on disk.

Where this departs from the paper, for cost:

- The backbone is decoder-only, not POD on T5-small. In the item-token form it reads one vector an item, not text.
- A global adapter is trained first. With ``local_start`` "global" each community's adapter starts from it and shares
  its item table: cheap, and measured to bring nothing where the global model is well trained (docs/LOG.md). With
  "scratch", as in the paper, each community has a model of its own, item table included, as part of its adapter.
- Every position of a history is a training example, in one pass.
- In the item-token form each item has a vector that is learned, beside what its text gives. That is the token for each
  item which the paper's textual prompts avoid: the table grows with the catalogue, and of an item that nobody met in
  training only the text is known. The title form reads text alone, but ranks by such a table too.

And in the loss, equation 3:

- Items that a history has shown before its target take no part in the softmax (``models.training.losses``), as they are
  never recommended.
- It is weighted: with ``affinity_weighted``, the default, each user counts by w_u^(j), as in LOCA. The paper adds up
  all examples of a community alike.
- It is a mean, not a sum, and the weights are normalised in each batch: every update is of one scale, and an affinity
  says how much a user counts among those of the same batch. A batch that happens to hold only distant users moves the
  model as far as one of near users.
"""
