//! What is ordered in a world, and what goes wrong at the vendors meanwhile.

use std::time::Duration;

use opros::domain::Timestamp;
use opros::simulator::{
    AltaSim, CallbackForm, CallbackStyle, CallbackWhen, Fault, FaultPlan, FaultRule, RlabSim, TronkSim, VagvinSim,
};
use serde_json::{Value, json};

/// How long after the answer was lost a vendor may still book. `SETTLE` is longer.
pub const BOOKS_LATE_BY: Duration = Duration::from_millis(250);
pub const SETTLE: Duration = Duration::from_millis(900);
/// Of one call; a vendor that hangs is given up after this.
pub const TIMEOUT: Duration = Duration::from_millis(1_000);
pub const CALLBACK_SECRET: &str = "crash-harness-secret";

/// When a client that changes its mind does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesBack {
    /// As soon as the order is acknowledged: most often before it was sent.
    AtOnce,
    /// When it stands in the vendor's books, so that the vendor has to be told.
    OnceAccepted,
}

/// How an order comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Mailbox,
    Socket,
}

#[derive(Debug, Clone)]
pub struct Order {
    /// Its own name in this world, and its `uid` at both doors.
    pub name: &'static str,
    pub door: Door,
    pub kind: &'static str,
    pub params: Value,
    /// What the vendor's ledger calls it; empty where nothing is ever booked.
    pub key: &'static str,
    /// The client changes its mind.
    pub cancelled: Option<TakesBack>,
    /// Ends unsent when this is over.
    pub deadline: Option<Duration>,
    /// Once it has ended an operator orders it again: by a double click, and whenever the answer did not come.
    pub again: bool,
}

impl Order {
    fn new(name: &'static str, door: Door, kind: &'static str, key: &'static str, params: Value) -> Self {
        Self { name, door, kind, params, key, cancelled: None, deadline: None, again: false }
    }

    pub fn vendor(&self) -> &'static str {
        self.kind.split('.').next().unwrap_or_default()
    }
}

/// Eleven orders over all four vendors, by both doors; every one has a key of its own in the vendors' ledger.
pub fn orders(now: Timestamp, short: bool, variant: u64) -> Vec<Order> {
    let until = now + Duration::from_millis(1_200);
    let wagons = |number: &str| {
        json!({ "wagons": [number], "track_state": "ru", "track_type": 3, "times": ["09:00"],
            "stop_station": "no", "until": until.to_rfc3339() })
    };
    let report = |vin: &str, check: &str, language: &str| json!({ "vin": vin, "check_type": check, "car_brand": "Volkswagen", "report_language": language });
    let parcel = |track: &str| json!({ "track": track, "phone": "79990000001", "name": "Дмитрий" });
    let (mailbox, socket) = (Door::Mailbox, Door::Socket);
    let mut all = vec![
        Order::new("phone", mailbox, "tronk.report", "79990000111", json!({ "phone": "79990000111" })),
        Order::new("wagon", mailbox, "alta.track", "54676515", wagons("54676515")),
        Order::new("parcel", socket, "rlab.track", "19527937484546", parcel("19527937484546")),
        Order::new(
            "car",
            socket,
            "vagvin.report",
            "WVWZZZ1KZAW123456",
            report("WVWZZZ1KZAW123456", "check_elsa_pro_full", "Русский"),
        ),
    ];
    if short {
        return all;
    }
    let mut unwanted =
        Order::new("unwanted", mailbox, "tronk.report", "79990000222", json!({ "phone": "79990000222" }));
    unwanted.cancelled = Some(TakesBack::AtOnce);
    let mut called_off = Order::new("called-off", socket, "rlab.track", "63010828068631", parcel("63010828068631"));
    called_off.cancelled = Some(if variant.is_multiple_of(2) { TakesBack::AtOnce } else { TakesBack::OnceAccepted });
    let mut overdue = Order::new("overdue", socket, "tronk.report", "79990000333", json!({ "phone": "79990000333" }));
    (overdue.deadline, overdue.again) = (Some(Duration::from_millis(500)), true);
    all.extend([
        Order::new("blocks", socket, "tronk.report_json", "XTA21099071234567", json!({ "vin": "XTA21099071234567" })),
        Order::new("second-phone", socket, "tronk.report", "79990000444", json!({ "phone": "79990000444" })),
        Order::new(
            "second-car",
            mailbox,
            "vagvin.report",
            "WVWZZZ1KZAW654321",
            report("WVWZZZ1KZAW654321", "check_erwin_full", "Английский"),
        ),
        Order::new("not-understood", mailbox, "tronk.report", "", json!({ "telephone": "79990000555" })),
        unwanted,
        called_off,
        overdue,
    ]);
    all
}

/// What goes wrong, by the world's number: each hazard alone, and some together.
pub const VARIANTS: u64 = 6;

pub fn faults(variant: u64) -> FaultPlan {
    let once = |vendor, op, then| FaultRule::on(vendor, op, then).nth([1]);
    let late = || Fault::LateBooking { after_ms: BOOKS_LATE_BY.as_millis() as u64 };
    let failed = |book| Fault::Status { code: 500, body: String::new(), content_type: None, retry_after: None, book };
    let rules = match variant % VARIANTS {
        // The vendors are well; only the daemon dies.
        0 => vec![],
        // Taken, and the answer lost.
        1 => vec![
            once("tronk", "submit", Fault::DropAfter {}),
            once("alta", "submit", Fault::DropAfter {}),
            once("rlab", "submit", Fault::DropAfter {}),
            once("vagvin", "submit", Fault::DropAfter {}),
        ],
        // Taken when the client has long gone.
        2 => vec![once("alta", "submit", late()), once("rlab", "submit", late()), once("tronk", "submit", late())],
        // An error that is a lie, and one that is none.
        3 => vec![
            once("alta", "submit", failed(true)),
            once("tronk", "submit", failed(false)),
            once("rlab", "submit", failed(true)),
            once("alta", "list", failed(false)),
        ],
        // Nobody answers.
        4 => vec![
            once("vagvin", "submit", Fault::Hang { book: true }),
            once("tronk", "submit", Fault::Hang { book: false }),
            once("rlab", "submit", Fault::Hang { book: true }),
        ],
        // Answers of no use; and a poll that fails.
        _ => vec![
            once("tronk", "submit", Fault::Redirect { location: None, code: 307, book: true }),
            once("alta", "submit", Fault::Truncated { book: true, clean: false }),
            once("vagvin", "submit", Fault::Html { book: false }),
            once("tronk", "poll", Fault::DropBefore {}),
        ],
    };
    FaultPlan { rules }
}

pub fn tronk() -> TronkSim {
    TronkSim {
        ready_after: Duration::from_millis(60),
        block_every: Duration::from_millis(20),
        min_poll: Duration::ZERO,
        ..TronkSim::default()
    }
}

pub fn alta() -> AltaSim {
    let zero = Duration::ZERO;
    AltaSim {
        test_account: false,
        first_data_after: Duration::from_millis(50),
        report_takes: (Duration::from_millis(10), Duration::from_millis(20)),
        leg: Duration::from_millis(100),
        min_show: zero,
        min_spacing: zero,
        block_for: zero,
        ..AltaSim::default()
    }
}

pub fn rlab() -> RlabSim {
    let (first_status_after, step) = (Duration::from_millis(30), Duration::from_millis(60));
    RlabSim { first_status_after, step, min_poll: Duration::ZERO, ..RlabSim::default() }
}

/// The first order is called back before it is answered; the second by a form with a file larger than a row.
pub fn vagvin(url: String) -> VagvinSim {
    let style = |form, when| CallbackStyle { form, when, ..CallbackStyle::default() };
    VagvinSim {
        callback_url: Some(url),
        answer_after: Duration::from_millis(80),
        styles: vec![
            style(CallbackForm::Json, CallbackWhen::Early),
            CallbackStyle { repeats: 1, stranger_too: true, ..style(CallbackForm::Multipart, CallbackWhen::OnTime) },
        ],
        retries: 100,
        retry_every: Duration::from_millis(100),
        ..VagvinSim::default()
    }
}
