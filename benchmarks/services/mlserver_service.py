"""The work behind MLServer; imported by its workers, configured by the environment."""

import base64

import work
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Bench(MLModel):  # type: ignore[misc]
    """Answers texts with texts, and tensors with tensors."""

    async def load(self) -> bool:
        """Load the model."""
        self._function = work.function()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One answer for each item of the first dimension."""
        given = payload.inputs[0]
        data = given.data.root
        if work.work() == "classify":
            answers = self._function([base64.b64decode(each) for each in data])
            data = [answer.decode() for answer in answers]
        output = ResponseOutput(
            name="OUTPUT0", shape=given.shape, datatype=given.datatype, data=data
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
