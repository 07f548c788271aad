"""vanta: a plugin-based agent runtime to embed.

Every turn of a conversation can be answered by several tracks at once: a fast local one and an API
one. A scheduler races them under a policy and keeps each turn inside its deadline, its money and
its privacy rule. Start with `vanta.open`.

Invariant: this front and the fronts of the rooms below it are the whole public API, listed in
`docs/api.md`. A name is imported when it is first used, so `import vanta` loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front
from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.api import (
        Opening,
        Overrides,
        ask,
        open,  # noqa: A004 - `vanta.open` is its name
    )
    from vanta.bounds import (
        AnswerBound,
        Pace,
        whole_answer,
    )
    from vanta.check import (
        Check,
        DiagnosisContext,
        Finding,
    )
    from vanta.companion import (
        Companion,
        Host,
    )
    from vanta.engine import (
        Capabilities,
        DeltaStream,
        Engine,
        EngineContext,
        EngineFactory,
        EngineModel,
        GenerationRequest,
        Health,
        ModelFile,
        Receipt,
        Sampling,
        TokenCount,
    )
    from vanta.engine_base import (
        BaseEngine,
        WrapperEngine,
    )
    from vanta.errors import (
        AllTracksFailed,
        BudgetExceeded,
        CallStateError,
        ConfigError,
        EmbedderError,
        EngineError,
        ErrorKind,
        InvalidValue,
        ModelStoreError,
        NoTrack,
        PluginError,
        RunError,
        ScriptError,
        StoreError,
        TemplateError,
        ToolError,
        UnknownName,
        UnreadableDocument,
        UsageError,
        VantaError,
        VectorIndexError,
        did_you_mean,
        refused_resource,
    )
    from vanta.events import (
        Amended,
        ApprovalRequested,
        CallFinished,
        CallRequested,
        Committed,
        Event,
        LegCancelled,
        LegFailed,
        LegFinished,
        LegRejected,
        LegStarted,
        MemoryRecalled,
        Observer,
        QuestionAsked,
        ReasoningDelta,
        RoundStarted,
        Takeover,
        TextDelta,
        TurnFailed,
        TurnFinished,
        TurnResumed,
        TurnStarted,
    )
    from vanta.expectations import (
        CheckedTurn,
        Expectation,
        Failure,
    )
    from vanta.installation import install_hint
    from vanta.messages import (
        CallNumbering,
        Completion,
        Delta,
        EngineTimings,
        FinishReason,
        Fold,
        Image,
        Message,
        MessageContent,
        TokenLogprob,
        ToolCall,
        ToolCallPart,
        Usage,
        message_data,
        read_content,
        read_message,
    )
    from vanta.money import Caps
    from vanta.network import (
        EnvironmentProxy,
        is_loopback,
        proxy_for,
        retry_after_s,
    )
    from vanta.privacy import (
        Detector,
        scrub_error,
        traceback_texts,
    )
    from vanta.runtime import (
        IsolatedTools,
        Isolation,
        Runtime,
        Session,
        ShownText,
        SyncRuntime,
        SyncSession,
        SyncTurn,
        TurnOptions,
        TurnStream,
        in_quiet,
    )
    from vanta.scheduling.gate import (
        Gate,
        Verdict,
    )
    from vanta.scheduling.policy import (
        GateRule,
        LegPlan,
        Policy,
    )
    from vanta.tool_contract import (
        AskPerson,
        Tool,
        ToolContext,
        ToolCounts,
        ToolResult,
        Toolset,
        ToolsetContext,
        ToolsetFactory,
    )
    from vanta.tools.functions import (
        FunctionToolset,
        tool,
    )
    from vanta.tools.permissions.parked_turns import ApprovalError, ApprovalPending
    from vanta.tools.turn_rules import Approval, ApprovalHandler, ApprovalRequest
    from vanta.trace import (
        CallTrace,
        ContextTrace,
        LegTrace,
        MemoryTrace,
        RecallTrace,
        Reply,
        Timings,
        ToolsTrace,
        ToolTrace,
        Trace,
    )
    from vanta.track import (
        Price,
        Track,
    )

__version__ = "0.1.0"

_NAMES = {
    "vanta.api": "Opening Overrides ask open",
    "vanta.bounds": "AnswerBound Pace whole_answer",
    "vanta.check": "Check DiagnosisContext Finding",
    "vanta.companion": "Companion Host",
    "vanta.engine": (
        "Capabilities DeltaStream Engine EngineContext EngineFactory EngineModel "
        "GenerationRequest Health ModelFile Receipt Sampling TokenCount "
    ),
    "vanta.engine_base": "BaseEngine WrapperEngine",
    "vanta.errors": (
        "AllTracksFailed BudgetExceeded CallStateError ConfigError EmbedderError EngineError "
        "ErrorKind InvalidValue ModelStoreError NoTrack PluginError RunError ScriptError "
        "StoreError TemplateError ToolError UnknownName UnreadableDocument UsageError VantaError "
        "VectorIndexError did_you_mean refused_resource "
    ),
    "vanta.events": (
        "Amended ApprovalRequested CallFinished CallRequested Committed Event LegCancelled "
        "LegFailed LegFinished LegRejected LegStarted MemoryRecalled Observer QuestionAsked "
        "ReasoningDelta RoundStarted Takeover TextDelta TurnFailed TurnFinished TurnResumed "
        "TurnStarted "
    ),
    "vanta.expectations": "Expectation Failure CheckedTurn",
    "vanta.installation": "install_hint",
    "vanta.messages": (
        "CallNumbering Completion Delta EngineTimings FinishReason Fold Image Message "
        "MessageContent TokenLogprob ToolCall ToolCallPart Usage message_data read_content "
        "read_message "
    ),
    "vanta.network": "EnvironmentProxy is_loopback proxy_for retry_after_s",
    "vanta.money": "Caps",
    "vanta.privacy": "Detector scrub_error traceback_texts",
    "vanta.runtime": (
        "IsolatedTools Isolation Runtime Session ShownText SyncRuntime SyncSession SyncTurn "
        "TurnOptions TurnStream in_quiet"
    ),
    "vanta.scheduling.gate": "Gate Verdict",
    "vanta.scheduling.policy": "GateRule LegPlan Policy",
    "vanta.tool_contract": (
        "AskPerson Tool ToolContext ToolCounts ToolResult Toolset ToolsetContext ToolsetFactory"
    ),
    "vanta.trace": (
        "CallTrace ContextTrace LegTrace MemoryTrace RecallTrace Reply Timings ToolTrace "
        "ToolsTrace Trace"
    ),
    "vanta.tools.functions": "FunctionToolset tool",
    "vanta.tools.permissions.parked_turns": "ApprovalError ApprovalPending",
    "vanta.tools.turn_rules": "Approval ApprovalHandler ApprovalRequest",
    "vanta.track": "Price Track",
}

__all__ = [
    "AllTracksFailed",
    "Amended",
    "AnswerBound",
    "Approval",
    "ApprovalError",
    "ApprovalHandler",
    "ApprovalPending",
    "ApprovalRequest",
    "ApprovalRequested",
    "AskPerson",
    "BaseEngine",
    "BudgetExceeded",
    "CallFinished",
    "CallNumbering",
    "CallRequested",
    "CallStateError",
    "CallTrace",
    "Capabilities",
    "Caps",
    "Check",
    "CheckedTurn",
    "Committed",
    "Companion",
    "Completion",
    "ConfigError",
    "ContextTrace",
    "Delta",
    "DeltaStream",
    "Detector",
    "DiagnosisContext",
    "EmbedderError",
    "Engine",
    "EngineContext",
    "EngineError",
    "EngineFactory",
    "EngineModel",
    "EngineTimings",
    "EnvironmentProxy",
    "ErrorKind",
    "Event",
    "Expectation",
    "Failure",
    "Finding",
    "FinishReason",
    "Fold",
    "FunctionToolset",
    "Gate",
    "GateRule",
    "GenerationRequest",
    "Health",
    "Host",
    "Image",
    "InvalidValue",
    "IsolatedTools",
    "Isolation",
    "LegCancelled",
    "LegFailed",
    "LegFinished",
    "LegPlan",
    "LegRejected",
    "LegStarted",
    "LegTrace",
    "MemoryRecalled",
    "MemoryTrace",
    "Message",
    "MessageContent",
    "ModelFile",
    "ModelStoreError",
    "NoTrack",
    "Observer",
    "Opening",
    "Overrides",
    "Pace",
    "PluginError",
    "Policy",
    "Price",
    "QuestionAsked",
    "ReasoningDelta",
    "RecallTrace",
    "Receipt",
    "Reply",
    "RoundStarted",
    "RunError",
    "Runtime",
    "Sampling",
    "ScriptError",
    "Session",
    "ShownText",
    "StoreError",
    "SyncRuntime",
    "SyncSession",
    "SyncTurn",
    "Takeover",
    "TemplateError",
    "TextDelta",
    "Timings",
    "TokenCount",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallPart",
    "ToolContext",
    "ToolCounts",
    "ToolError",
    "ToolResult",
    "ToolTrace",
    "ToolsTrace",
    "Toolset",
    "ToolsetContext",
    "ToolsetFactory",
    "Trace",
    "Track",
    "TurnFailed",
    "TurnFinished",
    "TurnOptions",
    "TurnResumed",
    "TurnStarted",
    "TurnStream",
    "UnknownName",
    "UnreadableDocument",
    "Usage",
    "UsageError",
    "VantaError",
    "VectorIndexError",
    "Verdict",
    "WrapperEngine",
    "ask",
    "did_you_mean",
    "hookimpl",
    "in_quiet",
    "install_hint",
    "is_loopback",
    "lazy_front",
    "message_data",
    "open",
    "proxy_for",
    "read_content",
    "read_message",
    "refused_resource",
    "retry_after_s",
    "scrub_error",
    "tool",
    "traceback_texts",
    "whole_answer",
]


__getattr__ = lazy_front(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
