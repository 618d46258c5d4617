"""Whether an adapter that a worker has loaded is the one that was meant: it is asked its bundle's probe."""

import asyncio
from dataclasses import dataclass

from models.contract.bundle import Bundle
from models.contract.probe import Probe, load_probe
from models.contract.prompts import load_prompts
from service.workers.types import Completion, Outcome


@dataclass(frozen=True)
class Exam:
    """A bundle's probe as a question to workers."""

    probe: Probe
    question: Completion

    def complaint(self, adapter: str, answer: Outcome) -> str:
        """Why an answer is not the adapter's; empty where it is."""
        return self.probe.complaint(adapter, answer.ranking)


class Examiner:
    """Reads each bundle's probe once, from the gateway's own disk."""

    def __init__(self) -> None:
        self._exams: dict[str, Exam] = {}

    async def exam(self, bundle: Bundle) -> Exam:
        """The exam of a bundle. Raises BundleError where its files do not give one."""
        exam = self._exams.get(bundle.id)
        if exam is None:
            exam = self._exams[bundle.id] = await asyncio.to_thread(read_exam, bundle)
        return exam

    def keep(self, bundle_ids: set[str]) -> None:
        """Forget the exams of all other bundles."""
        self._exams = {bundle_id: exam for bundle_id, exam in self._exams.items() if bundle_id in bundle_ids}


def read_exam(bundle: Bundle) -> Exam:
    """The exam of a bundle, from its files. Raises BundleError."""
    model = bundle.manifest.model
    probe = load_probe(bundle.directory, model.adapters)
    question = Completion(
        prompt=probe.prompt.tolist(),
        candidates=probe.n,
        excluded=probe.history,
        n_items=model.n_items,
        item_offset=load_prompts(bundle).item_offset,
    )
    return Exam(probe, question)
