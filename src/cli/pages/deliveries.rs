//! Why an event was not taken by a webhook or a command. Deliveries cost nothing.

use super::Money::None as NoMoney;
use super::Page;
use super::Place::Delivery;
use super::page;

const AGAIN: &str = "opros tries again with growing waits for three days. opros webhooks test NAME tries it now.";

pub(super) const PAGES: &[Page] = &[
    page(
        "status_NNN",
        &[Delivery],
        NoMoney,
        "The receiver answered with this HTTP status, which is no success. 410 disables the webhook; redirects are not followed.",
        AGAIN,
    ),
    page(
        "timeout",
        &[Delivery],
        NoMoney,
        "The receiver did not answer, or the command did not end, within its timeout.",
        "Answer first and work later; or raise the sink's timeout.",
    ),
    page(
        "not_started",
        &[Delivery],
        NoMoney,
        "The command's program cannot be started: it is not there, or the unit does not let it (ExecPaths).",
        "docs/events.md says how a unit allows a program.",
    ),
    page("broke", &[Delivery], NoMoney, "The command's program could not be waited for.", AGAIN),
    page(
        "exit",
        &[Delivery],
        NoMoney,
        "The command's program ended with another exit code than 0, or by a signal; its last words stand in the error.",
        AGAIN,
    ),
    page(
        "forgotten",
        &[Delivery],
        NoMoney,
        "Retention removed the event before it could be delivered.",
        "Keep events for longer (retention.events) than a receiver may be away.",
    ),
    page(
        "failed_for_five_days",
        &[Delivery],
        NoMoney,
        "Every delivery failed for five days, so the sink was disabled.",
        "Mend the receiver, then: opros webhooks enable NAME.",
    ),
];
