"""CEL, the expression language of Kubernetes' rules: a compiler to Python closures, with Kubernetes' libraries.

::

    program = cel.compile("self.replicas <= self.max && self.name.startsWith('a')", {"self": kind})
    program.evaluate({"self": {"replicas": 1, "max": 2, "name": "a"}})          # True

Promises: an expression that `compile` accepts is well typed as cel-go's checker would have it; what has the type
``dyn`` is checked when it is evaluated. Evaluation changes nothing, waits for nothing and ends (there are no loops but
over data, and the cost is limited). Errors have the words of cel-go where they are stable.

Types are made with `wherry.api.cel.types` (``INT``, ``list_of``, ``object_of`` …), those of structural schemas with
`wherry.api.cel.schema`.
"""

from wherry.api.cel.program import PER_CALL_LIMIT, Program, compile  # noqa: A004
from wherry.api.cel.source import CompileError
from wherry.api.cel.types import Type
from wherry.api.cel.values import CostExceeded, EvalError

__all__ = ["PER_CALL_LIMIT", "CompileError", "CostExceeded", "EvalError", "Program", "Type", "compile"]
