//! Facts out: rows as the store has them, and the events beside them, in one transaction of the mailbox.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::session::Session;
use super::sql;
use super::take::text;
use super::trouble::Trouble;
use crate::crash;
use crate::domain::repeat::Asked;
use crate::domain::{Reason, State, Timestamp};
use crate::engine::intake::LARGEST_PARAMS;
use crate::store::{JobDetails, MailboxEvent, MailboxNews, MailboxRow, OrderedRow, RejectedRow};

/// How much one transaction carries: the file is not locked for long.
const ROWS: usize = 500;
const EVENTS: usize = 500;
/// A larger result travels by itself instead of in the JSON that carries the rows.
const SMALL_RESULT: usize = 16 << 10;
const RECONCILED: i64 = 500;
const REMOVED: i64 = 500;

/// What one transaction brings.
#[derive(Debug, Default)]
struct Delivery {
    /// Pending rows that it settles.
    settled: Vec<String>,
    /// Rows that are to be written once all their events are.
    later: Vec<String>,
    rows: BTreeMap<String, MailboxRow>,
    events: Vec<(String, Value)>,
    written: i64,
    /// Rows that the file has lost.
    lost: Vec<JobDetails>,
}

impl Session {
    /// Writes a bounded part of what is to be written; says whether there is more.
    pub(super) async fn deliver(&mut self) -> Result<bool, Trouble> {
        let store = self.engine.store().clone();
        let changes = store.take_mailbox_changes();
        self.pending.extend(changes.uids);
        self.purges |= changes.purge;
        if changes.overflow {
            self.reconciled = Some(0);
        }
        let last = store.commits().borrow().last_mailbox_seq;
        if self.pending.is_empty() && last <= self.file.written {
            return Ok(false);
        }
        let mut delivery = self.gather().await?;
        crash::point("mailbox.facts_gathered");
        let mut ids = self.find(delivery.rows.keys()).await?;
        // Until they are told apart, their tokens lead to the wrong rows.
        ids.retain(|uid, _| !self.apart.values().any(|first| first == uid));
        delivery.lost = self.lost(&delivery, &ids).await?;
        self.file.begin(sql::WRITE).await?;
        crash::point("mailbox.write_begun");
        let done = match self.write(&delivery, &mut ids).await {
            Ok(()) => {
                crash::point("mailbox.before_commit");
                self.file.commit().await
            }
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = done {
            self.file.rollback().await;
            return Err(trouble);
        }
        crash::point("mailbox.committed");
        self.committed();
        self.apart.clear();
        for uid in &delivery.settled {
            self.pending.remove(uid);
            self.forget(uid);
        }
        self.pending.extend(delivery.later);
        self.file.written = delivery.written;
        Ok(!self.pending.is_empty() || last > self.file.written)
    }

    fn forget(&mut self, uid: &str) {
        if let Some(id) = self.ids.remove(uid) {
            self.taken.remove(&id);
        }
    }

    /// Asks the store what is new.
    ///
    /// Who reads that a row has ended finds the event that says so: the pending rows are written only when the events reach as
    /// far as the snapshot that both are of.
    async fn gather(&self) -> Result<Delivery, Trouble> {
        let store = self.engine.store();
        let mut delivery = Delivery { written: self.file.written, ..Delivery::default() };
        let mut pending: Vec<String> = self.pending.iter().take(ROWS).cloned().collect();
        let news = store.mailbox_news(&pending, self.file.written, EVENTS).await?;
        let MailboxNews { settled, rows, reach, feed } = news;
        delivery.written = feed.last().and_then(|last| last.event.mailbox_seq).unwrap_or(self.file.written);
        if delivery.written >= reach {
            pending.truncate(settled);
            (delivery.settled, delivery.rows) = (pending, rows);
        }
        let ended: HashSet<String> =
            feed.iter().filter(|told| told.event.kind.is_terminal()).map(|told| told.uid.clone()).collect();
        for MailboxEvent { event, uid, row } in feed {
            let event_id = format!("{}-{}", store.instance(), event.seq);
            let (kind, at) = (event.kind.as_str(), event.at.as_millis());
            delivery.events.push((uid.clone(), json!([event.mailbox_seq, null, kind, at, event.data, event_id])));
            if row.state.is_final() && !ended.contains(&uid) {
                // Its last event is on a later page, or long written.
                delivery.later.push(uid);
            } else {
                delivery.rows.insert(uid, row);
            }
        }
        Ok(delivery)
    }

    /// The numbers that rows have in the file.
    async fn find(&mut self, uids: impl Iterator<Item = &String>) -> Result<HashMap<String, i64>, Trouble> {
        let (known, unknown): (Vec<&String>, Vec<&String>) = uids.partition(|uid| self.ids.contains_key(*uid));
        let mut ids: HashMap<String, i64> =
            known.into_iter().filter_map(|uid| Some((uid.clone(), *self.ids.get(uid)?))).collect();
        if !unknown.is_empty() {
            let found = sqlx::query_as::<_, (String, i64)>(sql::FIND_ROWS).bind(json!(unknown).to_string());
            ids.extend(found.fetch_all(&mut self.file.conn).await?);
        }
        Ok(ids)
    }

    /// Jobs whose rows the file has lost, with its older days or by somebody's DELETE: what was paid for has to be found.
    async fn lost(&self, delivery: &Delivery, ids: &HashMap<String, i64>) -> Result<Vec<JobDetails>, Trouble> {
        let mut lost = Vec::new();
        for (uid, row) in &delivery.rows {
            if let (None, Some(id)) = (ids.get(uid), row.job)
                && let Some(details) = self.engine.store().job(id).await?
                && details.job.mailbox_uid.as_ref() == Some(uid)
                && details.params.len() <= LARGEST_PARAMS
            {
                lost.push(details);
            }
        }
        Ok(lost)
    }

    async fn write(&mut self, delivery: &Delivery, ids: &mut HashMap<String, i64>) -> Result<(), Trouble> {
        for own in self.apart.keys() {
            let query = sqlx::query(sql::TELL_APART).bind(self.ids.get(own)).bind(own);
            query.execute(&mut self.file.conn).await?;
        }
        if !delivery.lost.is_empty() {
            let rows: Vec<Value> = delivery.lost.iter().map(restored).collect();
            self.run(sql::RESTORE_ROWS, rows).await?;
            let uids: Vec<&String> = delivery.lost.iter().filter_map(|lost| lost.job.mailbox_uid.as_ref()).collect();
            ids.extend(self.find(uids.into_iter()).await?);
        }
        let known = delivery.rows.iter().filter_map(|(uid, row)| Some((*ids.get(uid)?, row)));
        let rejected = known.clone().filter(|(_, row)| row.state == State::Rejected);
        self.run(sql::NAME_ROWS, rejected.map(|(id, _)| json!(id)).collect()).await?;
        // What ends first: it frees dedupe keys that others' rows may have.
        for is_final in [true, false] {
            let rows: Vec<_> = known.clone().filter(|(_, row)| row.state.is_final() == is_final).collect();
            let whole = rows.iter().map(|(id, row)| written_back(*id, row, row.ordered.as_ref()));
            let done = self.run(sql::UPDATE_ROWS, whole.collect()).await?;
            // Where another program's unique index refuses the order as it was understood, the answer is written all the same.
            if done < rows.len() as u64 {
                let answers = rows.iter().map(|(id, row)| written_back(*id, row, None));
                self.run(sql::UPDATE_ROWS, answers.collect()).await?;
            }
        }
        for (id, row) in known {
            if let Some(result) = row.result.as_ref().filter(|result| result.len() > SMALL_RESULT) {
                sqlx::query(sql::SET_RESULT).bind(id).bind(result).execute(&mut self.file.conn).await?;
            }
        }
        let events = delivery.events.iter().map(|(uid, values)| {
            let mut values = values.clone();
            values[1] = json!(ids.get(uid));
            values
        });
        self.run(sql::WRITE_EVENTS, events.collect()).await?;
        self.file.note_written(delivery.written).await
    }

    /// How many rows it changed.
    async fn run(&mut self, statement: &'static str, rows: Vec<Value>) -> Result<u64, Trouble> {
        if rows.is_empty() {
            return Ok(0);
        }
        let rows = Value::Array(rows).to_string();
        Ok(sqlx::query(statement).bind(rows).execute(&mut self.file.conn).await?.rows_affected())
    }

    // ---- putting right -----------------------------------------------------------------------------------------

    /// Compares a page of unfinished rows with the store; says whether there are more.
    pub(super) async fn reconcile(&mut self) -> Result<bool, Trouble> {
        let Some(after) = self.reconciled else { return Ok(false) };
        let page = sqlx::query_as::<_, (i64, Vec<u8>, String)>(sql::UNFINISHED).bind(after).bind(RECONCILED);
        let page = page.fetch_all(&mut self.file.conn).await?;
        let page: Vec<(i64, String, String)> =
            page.into_iter().map(|(id, uid, state)| (id, text(uid), state)).collect();
        self.reconciled = page.last().map(|(id, ..)| *id);
        self.compare(page).await?;
        Ok(self.reconciled.is_some() || !self.pending.is_empty())
    }

    /// Rows that say they were taken: what differs from the store is written anew, what it never took is rejected.
    pub(super) async fn compare(&mut self, page: Vec<(i64, String, String)>) -> Result<(), Trouble> {
        if page.is_empty() {
            return Ok(());
        }
        let uids: Vec<String> = page.iter().map(|(_, uid, _)| uid.clone()).collect();
        let (store, mut known, mut rest) = (self.engine.store(), HashMap::new(), uids.as_slice());
        while !rest.is_empty() {
            let (part, later) = rest.split_at(store.mailbox_fits(rest).await?);
            known.extend(store.mailbox_rows(part).await?.into_iter().map(|(uid, row)| (uid, row.state)));
            rest = later;
        }
        let mut unknown = Vec::new();
        for (id, uid, state) in page {
            match known.get(&uid) {
                Some(known) if known.as_str() == state => {}
                Some(_) => {
                    self.pending.insert(uid);
                }
                None => {
                    let uid = if uid.is_empty() { format!("unreadable:{id}") } else { uid };
                    self.ids.insert(uid.clone(), id);
                    self.pending.insert(uid.clone());
                    let asked = Asked { row: Some(id), ..Asked::default() };
                    unknown.push(RejectedRow { uid, kind: None, reason: unknown_row(), duplicate_of: None, asked });
                }
            }
        }
        if !unknown.is_empty() {
            tracing::warn!(
                rows = unknown.len(),
                "mailbox rows that the store never took claim to be under way; rejected"
            );
            self.engine.store().reject(unknown, self.engine.now()).await?;
        }
        Ok(())
    }

    /// Removes a bounded number of rows and events that are past retention; says whether there are more.
    pub(super) async fn retain(&mut self) -> Result<bool, Trouble> {
        let now = self.engine.now();
        if !self.engine.store().may_remove(now).await? {
            self.next_retain = Instant::now() + self.setup.retain_every();
            return Ok(false);
        }
        let retention = *self.setup.retention.borrow();
        let mut finished = self.old(sql::OLD_ROWS, now - retention.finished).await?;
        // A row that claims to have ended long ago, and was not looked at yet, is owed its answer first.
        if !finished.is_empty() {
            let pending: HashSet<i64> = self.ids.values().copied().collect();
            finished.retain(|id| *id <= self.compared && !pending.contains(id));
        }
        let events = self.old(sql::OLD_EVENTS, now - retention.events).await?;
        if finished.is_empty() && events.is_empty() {
            self.next_retain = Instant::now() + self.setup.retain_every();
            return Ok(false);
        }
        self.file.begin(sql::WRITE).await?;
        let removed = async {
            self.run(sql::DELETE_ROWS, finished.into_iter().map(Value::from).collect()).await?;
            self.run(sql::DELETE_EVENTS, events.into_iter().map(Value::from).collect()).await?;
            self.file.commit().await
        };
        if let Err(trouble) = removed.await {
            self.file.rollback().await;
            return Err(trouble);
        }
        self.committed();
        Ok(true)
    }

    /// Removes the rows of purged jobs with what their events say, and then what the log still holds of them.
    pub(super) async fn purge(&mut self) -> Result<bool, Trouble> {
        let uids = self.engine.store().mailbox_purges().await?;
        if uids.is_empty() {
            self.purges = false;
            return Ok(false);
        }
        let found = self.find(uids.iter()).await?;
        self.file.begin(sql::WRITE).await?;
        let removed = async {
            // Whoever asks again meanwhile, with the token of the job, has a row that is owed its own answer.
            let ids = json!(found.values().collect::<Vec<_>>()).to_string();
            let ended: Vec<i64> = sqlx::query_scalar(sql::ENDED).bind(ids).fetch_all(&mut self.file.conn).await?;
            self.run(sql::PURGE_EVENTS, ended.iter().map(|id| json!(id)).collect()).await?;
            self.run(sql::DELETE_ROWS, ended.iter().map(|id| json!(id)).collect()).await?;
            self.file.commit().await.map(|()| ended)
        };
        let ended = match removed.await {
            Ok(ended) => ended,
            Err(trouble) => {
                self.file.rollback().await;
                return Err(trouble);
            }
        };
        self.file.checkpoint().await;
        for uid in uids.iter().filter(|uid| found.get(*uid).is_none_or(|id| ended.contains(id))) {
            self.pending.remove(uid);
            self.forget(uid);
        }
        self.engine.store().mailbox_purged(uids).await?;
        self.committed();
        Ok(true)
    }

    async fn old(&mut self, statement: &'static str, cutoff: Timestamp) -> Result<Vec<i64>, Trouble> {
        let query = sqlx::query_scalar(statement).bind(cutoff.as_millis()).bind(REMOVED);
        Ok(query.fetch_all(&mut self.file.conn).await?)
    }
}

/// As [`sql::UPDATE_ROWS`] takes it.
fn written_back(id: i64, row: &MailboxRow, ordered: Option<&OrderedRow>) -> Value {
    let (code, message) = row.reason.as_ref().map(|reason| (&reason.code, &reason.message)).unzip();
    let result = row.result.as_ref().filter(|result| result.len() <= SMALL_RESULT);
    json!([
        id,
        row.state,
        row.job,
        row.remote_id,
        code,
        message,
        result,
        row.updated_at.as_millis(),
        row.finished_at.map(Timestamp::as_millis),
        ordered.map(|ordered| &ordered.kind),
        ordered.map(|ordered| &ordered.params),
        ordered.map(|ordered| ordered.priority),
        ordered.map(|ordered| &ordered.account),
        ordered.and_then(|ordered| ordered.dedupe_key.as_ref()),
        ordered.and_then(|ordered| ordered.deadline).map(Timestamp::as_millis),
        ordered.and_then(|ordered| ordered.tag.as_ref()),
    ])
}

/// As [`sql::RESTORE_ROWS`] takes it.
fn restored(lost: &JobDetails) -> Value {
    let job = &lost.job;
    json!([
        job.mailbox_uid,
        job.kind,
        lost.params,
        job.account,
        job.dedupe_key,
        job.priority,
        job.deadline.map(Timestamp::as_millis),
        job.tag,
    ])
}

/// Taking such a row could order it a second time: whoever ordered it must decide.
fn unknown_row() -> Reason {
    Reason::new(
        "unknown_to_store",
        "the row says that it is under way or has ended, but opros' store never took it: another program changed its state \
         before it was taken, or the store was restored from an older copy. Nothing is sent. Ask the vendor whether it has \
         it; insert a new row to order it again",
    )
}
