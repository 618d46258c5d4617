"""CoLLM: Integrating Collaborative Embeddings into Large Language Models for Recommendation (Zhang et al., TKDE 2025).

A language model is asked whether a user would enjoy an item. Its prompt has the titles of what the user liked, and two
tokens whose embeddings come from a collaborative model (``models.cf.pointwise``) through a mapping.

- ``config``: how it is built and tuned;
- ``prompts``: section IV-A1, over ``models.contract.collm``;
- ``model``: hybrid encoding and prediction, equations 2 and 3;
- ``task``: batches of prompts, the loss, and scores;
- ``tuning``: the two steps, equations 4 and 5, and the choices that the paper compares them with;
- ``export``: mapped vectors become rows of the input embedding of an ordinary checkpoint;
- ``experiments``, ``study``, ``cost``, ``tables``: the paper's tables and figures.

The prediction is the answer token's logit at the prompt's last place, as in the public code: the vocabulary's other
logits are not computed.

Where this departs from the paper:

- Users and items that the training pairs lack have no vector. Their prompts are text alone, those of the first step;
  the public code gives them the vectors that nothing has trained. Of SASRec and DIN, which read histories, all users
  have vectors when pairs are scored here; a server knows those of the users who were there at training.
- Vectors enter the mapping divided by their typical size, so that one step size does for every collaborative model.
- The user's vector of SASRec is the state of the history, of DIN the embedding plus the pooled history. DIN's depends
  on the candidate, and so cannot become a row of a checkpoint: it is measured, not served.
- ``layers`` cuts the backbone to its first layers, for machines without a GPU.
- T3, which has no first step, is tuned for as long as the first step.
"""
