"""Made-up secrets in the answers about nodes and pools; tests search for these values."""

#: In the output of start tasks, each in a form in which real ones leak.
PLANTED_LOG_SECRETS = (
    "cGxhbnRlZC1sb2ctc2lnbmF0dXJlLTAwMDAwMDAwMDA=",
    "cGxhbnRlZC1sb2ctYWNjb3VudC1rZXktMDAwMDAwMDA=",
    "planted.log.bearer-0000000000",
    "planted-log-password-in-url",
    "planted-log-password-argument",
    "planted-log-env-value",
)

#: In the details of resize errors and the results of autoscale runs.
PLANTED_POOL_SECRETS = (
    "cGxhbnRlZC1yZXNpemUtc2lnbmF0dXJlLTAwMDAwMDA=",
    "cGxhbnRlZC1hdXRvc2NhbGUtc2lnbmF0dXJlLTAwMDA=",
)
