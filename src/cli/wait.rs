//! `wait`: until jobs have ended, across restarts of the daemon.
//!
//! The stream says that something happened, the job says what. The stream is opened before the first look, so nothing
//! falls between the two; a look every few seconds finds what no event tells, such as a look-up that gave up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Session;
use super::args::WaitArgs;
use super::client::Answer;
use super::exit::Exit;
use super::failure::Failure;
use super::follow::{Follower, News};
use super::output::{state_style, styled};
use super::wire::{Event, Job};
use super::{text, when};
use crate::domain::State;

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks at once: waiting for ten thousand jobs must not become a load.
const LOOKS: usize = 32;
/// The countdown of the progress line.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Waiting {
    pending: BTreeSet<i64>,
    total: usize,
    worst: Exit,
    /// The job that was looked at last; the next look goes on from there.
    looked_at: i64,
    /// What the progress line speaks of.
    newest: Option<Job>,
}

pub async fn wait(session: &mut Session<'_>, args: WaitArgs) -> Result<Exit, Failure> {
    let pending: BTreeSet<i64> = args.ids.into_iter().collect();
    let mut waiting = Waiting { total: pending.len(), pending, worst: Exit::Ok, looked_at: 0, newest: None };
    let Some(limit) = args.timeout else {
        waiting.until_all_ended(session).await?;
        return Ok(waiting.worst);
    };
    if let Ok(done) = tokio::time::timeout(limit, waiting.until_all_ended(session)).await {
        done?;
        return Ok(waiting.worst);
    }
    let left = waiting.pending.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    session.term.note(format!("After {} not ended: {left}", when::span(limit)))?;
    Ok(Exit::TimedOut)
}

impl Waiting {
    async fn until_all_ended(&mut self, session: &mut Session<'_>) -> Result<(), Failure> {
        let mut follower = Follower::connect(session.client, None).await?;
        self.look_at_all(session).await?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut tick = tokio::time::interval(TICK);
        look.reset();
        while !self.pending.is_empty() {
            tokio::select! {
                news = follower.next() => match news? {
                    News::Event(_, event) => self.heard(session, &event).await?,
                    News::Gap(_) => self.look_at_all(session).await?,
                    News::Lost(failure) => {
                        session.term.note(format!("{failure}; connecting again"))?;
                        self.come_back(session, &mut follower).await?;
                    }
                },
                _ = look.tick() => self.look_around(session, &mut follower).await?,
                _ = tick.tick(), if session.term.shows_progress() => self.show_progress(session)?,
            }
        }
        Ok(())
    }

    /// What happened meanwhile is seen by looking at everything.
    async fn come_back(&mut self, session: &mut Session<'_>, follower: &mut Follower<'_>) -> Result<(), Failure> {
        loop {
            follower.reconnect().await?;
            match self.look_at_all(session).await {
                Err(failure) if failure.may_pass() => {}
                done => return done,
            }
        }
    }

    async fn look_at_all(&mut self, session: &mut Session<'_>) -> Result<(), Failure> {
        for id in self.pending.clone() {
            self.look_at(session, id, None).await?;
        }
        Ok(())
    }

    /// The next few. A daemon that is just going away is the stream's business.
    async fn look_around(&mut self, session: &mut Session<'_>, follower: &mut Follower<'_>) -> Result<(), Failure> {
        let after = self.pending.range(self.looked_at + 1..);
        let few: Vec<i64> = after.chain(self.pending.range(..=self.looked_at)).copied().take(LOOKS).collect();
        for id in few {
            self.looked_at = id;
            match self.look_at(session, id, None).await {
                Err(failure) if failure.may_pass() => return self.come_back(session, follower).await,
                done => done?,
            }
        }
        Ok(())
    }

    async fn heard(&mut self, session: &mut Session<'_>, event: &Event) -> Result<(), Failure> {
        let Some(id) = event.job().filter(|id| self.pending.contains(id)) else { return Ok(()) };
        match self.look_at(session, id, ended_as(&event.kind)).await {
            // The stream will break off too, and coming back looks at everything.
            Err(failure) if failure.may_pass() => Ok(()),
            done => done,
        }
    }

    /// `told` is how it ended by the event, should the job be gone already.
    async fn look_at(&mut self, session: &mut Session<'_>, id: i64, told: Option<State>) -> Result<(), Failure> {
        let answer = match (session.client.get(&["v1", "jobs", &id.to_string()], &[]).await, told) {
            (Err(failure), Some(state)) if failure.is_not_found() => {
                session.term.say(format!("Job {id}: {state}; retention has removed it already"))?;
                return self.ended(id, state);
            }
            (answer, _) => answer?,
        };
        let job: Job = answer.read()?;
        // In doubt with nothing to come means that somebody has to decide.
        if job.state.is_final() || (job.state == State::InDoubt && job.rest.next_at.is_none()) {
            say(session, &answer, &job)?;
            return self.ended(id, job.state);
        }
        self.newest = Some(job);
        self.show_progress(session)
    }

    fn ended(&mut self, id: i64, state: State) -> Result<(), Failure> {
        self.pending.remove(&id);
        self.worst = self.worst.max(Exit::of_job(state));
        Ok(())
    }

    fn show_progress(&self, session: &mut Session<'_>) -> Result<(), Failure> {
        let Some(job) = &self.newest else { return Ok(()) };
        let count = match self.total {
            1 => String::new(),
            total => format!("{} of {total} ended; ", total - self.pending.len()),
        };
        let next = job.rest.next_at.map(|at| format!(", next {}", when::relative(at, session.clock.now())));
        let polls = job.rest.polls.map(|polls| format!(", asked {polls} times")).unwrap_or_default();
        Ok(session.term.progress(&format!("{count}job {} {}{polls}{}", job.id, job.state, next.unwrap_or_default()))?)
    }
}

fn ended_as(event: &str) -> Option<State> {
    event.strip_prefix("job.")?.parse().ok().filter(|state: &State| state.is_final())
}

fn say(session: &mut Session<'_>, answer: &Answer, job: &Job) -> Result<(), Failure> {
    if session.term.json {
        return Ok(session.term.say_json(&answer.body)?);
    }
    let took = job.rest.created_at.zip(job.rest.finished_at).map(|(from, to)| to.since(from));
    let took = took.map(|took| format!(" after {}", when::span(took))).unwrap_or_default();
    let error = job.rest.error.as_ref().filter(|_| job.state != State::Succeeded);
    let why = error.and_then(|error| error.message.as_deref().or(error.code.as_deref()));
    let why = why.map(|why| format!(": {}", text::line(why))).unwrap_or_default();
    let state = styled(state_style(job.state), job.state);
    session.term.say(format!("Job {} {state}{took}{why}", job.id))?;
    if job.state == State::InDoubt {
        let id = job.id;
        session.term.note(format!("To decide: opros resolve {id} --resubmit | --adopt REMOTE_ID | --fail"))?;
    }
    Ok(())
}
