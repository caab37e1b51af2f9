//! What a vendor answered, and what cannot be read of it.

use super::Money::{NotTaken, Says, Unknown};
use super::Page;
use super::Place::{Account, Job};
use super::page;

const ORDER_OR_POLL: super::Money = Says(
    "If it was the answer to an order: perhaps, and the order is in doubt; with HTTP 503 no, and it is sent again. If to a poll: no more than before.",
);

pub(super) const PAGES: &[Page] = &[
    page(
        "vendor_refused",
        &[Job],
        Says("By the vendor's word no: it refused the order."),
        "The vendor understood the request and refused it; its words stand in the error.",
        "Mend the params and order again. If the words are about key, access or money, add them to the account's pause_on, so that the next one pauses the account and keeps its jobs.",
    ),
    page(
        "vendor_busy",
        &[Job, Account],
        NotTaken,
        "The vendor asks to come later.",
        "Nothing: opros comes back with growing waits.",
    ),
    page(
        "too_many_requests",
        &[Job, Account],
        NotTaken,
        "The vendor answered 429. The whole account is silent for as long as the vendor asked, and never shorter than opros' own backoff, which grows while it repeats.",
        "Nothing once. If it happens daily, raise the account's limits.min_interval or lower max_in_flight.",
    ),
    page(
        "redirect",
        &[Job, Account],
        ORDER_OR_POLL,
        "The vendor answered with a redirect. opros follows none, because a redirected order can be sent twice.",
        "Has the vendor moved? Write the new address into the account's base_url. opros explain ID says how the order stands.",
    ),
    page(
        "empty_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "The vendor answered with an empty body.",
        "Nothing for a poll. For an order see: opros explain ID.",
    ),
    page(
        "html_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "A page of HTML came where JSON was due: a proxy, a maintenance page, or a wrong base_url.",
        "opros doctor; look at base_url. For an order see: opros explain ID.",
    ),
    page(
        "unreadable_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "The body of the answer is no JSON, or holds more values than opros reads.",
        "opros show ID --timeline has the beginning of it. For an order see: opros explain ID.",
    ),
    page(
        "wrong_shape",
        &[Job, Account],
        ORDER_OR_POLL,
        "R-Lab's answer is JSON without the fields that it should have.",
        "opros show ID --timeline has it. If R-Lab has changed its answers, opros needs an update.",
    ),
    page(
        "strange_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "Alta's answer says neither ok nor error, or lacks what it should bring.",
        "opros show ID --timeline has it. If Alta has changed its answers, opros needs an update.",
    ),
    page(
        "unexpected_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "Tronk's answer is readable and does not say what it should.",
        "opros show ID --timeline has it. If Tronk has changed its answers, opros needs an update.",
    ),
    page(
        "unknown_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "VagVin's answer says neither yes nor no in a form that opros knows.",
        "opros show ID --timeline has it; for an order see: opros explain ID.",
    ),
    page(
        "contradictory_answer",
        &[Job, Account],
        ORDER_OR_POLL,
        "VagVin's answer says yes in one place and no in another.",
        "Look at the vendor's side; for an order see: opros explain ID.",
    ),
    page(
        "contradiction",
        &[Job],
        ORDER_OR_POLL,
        "R-Lab's answer says done and something else beside it.",
        "Nothing for rlab.track: opros looks the track up. For the other kinds look with rlab.info.",
    ),
    page(
        "vendor_broken",
        &[Job, Account],
        Unknown,
        "The vendor's own code fell over or timed out, before or after the order was booked.",
        "Alta is looked up by itself. Else look at the vendor's side, then: opros resolve ID. A late call-back of VagVin's settles it, too.",
    ),
    page(
        "no_hash",
        &[Job],
        Unknown,
        "Alta says ok and names no hash for all that was ordered. opros looks for the order in Alta's list by its own token.",
        "Nothing at first: most such doubts end by themselves. opros explain ID says where it stands.",
    ),
    page(
        "other_task",
        &[Job],
        Says("Yes, for the task itself; this answer changes nothing."),
        "Asked about one task, Tronk answered about another one. The answer is not believed.",
        "Nothing once. If it goes on, tell Tronk.",
    ),
    page(
        "incomplete_list",
        &[Job],
        Says("No more than before: it is a list that was asked for."),
        "The vendor's list cannot be read as a whole, so that what is missing in it proves nothing.",
        "Nothing: opros asks again.",
    ),
    page(
        "incomplete_look_up",
        &[Job],
        Unknown,
        "R-Lab's list does not prove that the track is absent, so the order stays in doubt.",
        "Nothing: opros asks again.",
    ),
    page(
        "no_balance",
        &[Job, Account],
        Says("No: asking for the balance is free."),
        "The answer to the question for the balance holds no number.",
        "opros accounts has the vendor's words.",
    ),
    page(
        "driver_panicked",
        &[Job, Account],
        ORDER_OR_POLL,
        "opros' own code broke over the vendor's answer. Only this one call is harmed.",
        "journalctl -u opros, and report it; for an order see: opros explain ID.",
    ),
    page(
        "no_such_call",
        &[Job],
        Unknown,
        "The vendor can neither be asked for lost orders nor be told of a cancellation.",
        "Look at the vendor's side, then: opros resolve ID.",
    ),
    page(
        "unasked",
        &[Job],
        Unknown,
        "An answer was read for a call that is never sent to this vendor. That is a mistake in opros.",
        "Report it with opros show ID --timeline.",
    ),
    page(
        "strange_batch",
        &[Job],
        Unknown,
        "A request to Alta was put together of several orders. That is a mistake in opros.",
        "Report it with opros show ID --timeline.",
    ),
];
