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
"""
