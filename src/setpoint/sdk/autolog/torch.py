"""PyTorch: ``run.callback("torch", optimizer=optimizer)`` logs what a plain loop does."""

from typing import Any

from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from setpoint.sdk.tracked import Tracked


def callback(run: Tracked, *, optimizer: Optimizer, every: int = 50) -> Any:
    """Log norms and learning rates after each so many steps of an optimizer.

    Series: ``optimizer/gradient_norm`` and ``optimizer/parameter_norm`` over all its
    parameters, ``optimizer/lr`` (``lr/N`` with several groups). Each costs a pass over the
    parameters.

    Args:
        run: Where to.
        optimizer: Whose steps are counted.
        every: So many steps.

    Returns:
        A handle; its ``remove()`` ends it.
    """
    steps = [0]

    def after(this: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001 - PyTorch's
        step, steps[0] = steps[0], steps[0] + 1
        if step % every:
            return
        groups = this.param_groups
        parameters = [p.detach() for group in groups for p in group["params"]]
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        several = len(groups) > 1
        values = {f"lr/{i}" if several else "lr": group["lr"] for i, group in enumerate(groups)}
        values["parameter_norm"] = get_total_norm(parameters)
        values["gradient_norm"] = get_total_norm(gradients)
        run.log({"optimizer": values}, step=step)

    return optimizer.register_step_post_hook(after)
