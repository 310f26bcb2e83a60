from collections.abc import Callable

class SyncObjConf:
    def __init__(
        self,
        *,
        autoTick: bool = ...,
        appendEntriesUseBatch: bool = ...,
        appendEntriesPeriod: float = ...,
        appendEntriesBatchSizeBytes: int = ...,
        connectionTimeout: float = ...,
        dynamicMembershipChange: bool = ...,
        fullDumpFile: str | None = ...,
        journalFile: object = ...,
        leaderFallbackTimeout: float = ...,
        logCompactionMinEntries: int = ...,
        logCompactionMinTime: float = ...,
        onStateChanged: Callable[[int, int], None] | None = ...,
        raftMaxTimeout: float = ...,
        raftMinTimeout: float = ...,
        commandsWaitLeader: bool = ...,
        logCompactionBatchSize: int = ...,
    ) -> None: ...
