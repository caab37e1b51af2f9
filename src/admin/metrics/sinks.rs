//! How far those who read events are: webhooks, commands, the mailbox.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::admin::state::AdminState;
use crate::meters::{Book, Float};
use crate::store::StoreError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SinkLabels {
    sink: String,
    transport: &'static str,
}

#[derive(Debug, Default)]
pub struct Sinks {
    lag: Family<SinkLabels, Gauge>,
    pending: Family<SinkLabels, Gauge>,
    oldest: Family<SinkLabels, Float>,
    dead: Family<SinkLabels, Gauge>,
    delivered: Family<SinkLabels, Counter>,
    disabled: Family<SinkLabels, Gauge>,
    mailbox_lag: Gauge,
}

impl Sinks {
    pub async fn fill(&self, state: &AdminState) -> Result<(), StoreError> {
        let (store, now) = (state.engine().store(), state.engine().now());
        let last = store.commits().borrow().last_seq;
        let standings = match state.sinks() {
            Ok(sinks) => sinks.standings().await?,
            Err(_) => Vec::new(),
        };
        for sink in standings.into_iter().map(|standing| standing.sink) {
            let labels = SinkLabels { sink: sink.name.clone(), transport: sink.kind.as_str() };
            self.lag.get_or_create(&labels).set((last - sink.cursor).max(0) + sink.pending);
            self.pending.get_or_create(&labels).set(sink.pending);
            let oldest = if sink.pending > 0 { store.oldest_delivery(&sink.name).await? } else { None };
            self.oldest.get_or_create(&labels).set(oldest.map_or(0.0, |at| now.since(at).as_secs_f64()));
            self.dead.get_or_create(&labels).set(sink.dead);
            self.delivered.get_or_create(&labels).inc_by(u64::try_from(sink.delivered).unwrap_or_default());
            self.disabled.get_or_create(&labels).set(sink.disabled.is_some().into());
        }
        if state.exports().mailbox.is_some() {
            let cursor = store.mailbox_cursor().await?;
            self.mailbox_lag.set((cursor.last - cursor.mark.written).max(0));
        }
        Ok(())
    }

    pub fn register(&self, book: &mut Book) {
        let help = "Events that the sink has not been told of: not looked at yet, or on their way";
        book.add("sink_lag_events", help, self.lag.clone());
        book.add("sink_pending_events", "Events on their way to the sink", self.pending.clone());
        book.add("sink_oldest_pending_seconds", "How long the oldest of them has waited", self.oldest.clone());
        book.add("sink_dead_events", "Events that were given up, and are still remembered", self.dead.clone());
        book.add("sink_delivered_events", "Events that the sink acknowledged", self.delivered.clone());
        book.add("sink_disabled", "1 while the sink is disabled and told of nothing", self.disabled.clone());
        book.add("mailbox_lag_events", "Events that are not written back to the mailbox yet", self.mailbox_lag.clone());
    }
}
