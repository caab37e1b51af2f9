//! Where to kill, and how often: enumerated, in pairs, or drawn from a seed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Settings;
use super::play::{NEVER, Outcome, Plan, play};
use super::score::{Score, read_words, words};
use super::script::VARIANTS;
use super::teeth;
use super::world::Failure;

/// What CI asks for.
const CI_KILLS: usize = 2_000;
/// Lives in a world after the first: each dies while it recovers from the one before.
const RECOVERIES: usize = 4;
/// A recovery passes some sixty points and waits some two hundred times before it has nothing left to recover.
const RECOVERY_POINTS: u64 = 70;
const RECOVERY_SUSPENSIONS: u64 = 200;
/// How often a point that was missed is gone to again.
const COVER_ROUNDS: u64 = 5;
/// These come with the clock's next full minute.
const CALENDAR: [&str; 2] = ["schedule.before_firing", "schedule.fired"];

/// splitmix64: the same seed, the same campaign.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// How much there is to die at.
#[derive(Debug, Default)]
struct Space {
    points: u64,
    suspensions: u64,
    names: BTreeSet<String>,
}

/// Plays worlds, several at a time, until all are played or there were kills enough.
async fn run(plans: Vec<Plan>, settings: &Settings, score: &mut Score, enough: usize) -> Result<(), Failure> {
    let (mut plans, mut worlds) = (plans.into_iter(), JoinSet::new());
    let (begun, mut told) = (Instant::now(), 0);
    loop {
        while worlds.len() < settings.jobs.max(1) && score.kills < enough {
            let Some(plan) = plans.next() else { break };
            worlds.spawn(play(plan, settings.keep));
        }
        let Some(played) = worlds.join_next().await else { return Ok(()) };
        let outcome: Outcome = played??;
        if settings.verbose || !outcome.breaches.is_empty() {
            let names = outcome.kills.iter().map(|kill| format!("{}@{}", kill.name, kill.n)).collect::<Vec<_>>();
            println!("{:.1} s  {}  died at {}", outcome.seconds, words(&outcome.plan), names.join(" "));
            for breach in &outcome.breaches {
                println!("    {} {}{}", breach.invariant, breach.evidence, if outcome.void { " (void)" } else { "" });
            }
        }
        score.add(&outcome);
        if score.kills / 200 > told {
            told = score.kills / 200;
            let (rate, open) = (score.kills as f64 / begun.elapsed().as_secs_f64(), plans.len());
            println!(
                "{} kills, {rate:.1} a second, {open} worlds to come, {}",
                score.kills,
                if score.is_clean() { "all held" } else { "BROKEN" }
            );
        }
    }
}

/// One run of each variant without a kill.
async fn measure(settings: &Settings, score: &mut Score) -> Result<Space, Failure> {
    let mut space = Space::default();
    let mut worlds = JoinSet::new();
    for variant in 0..VARIANTS {
        worlds.spawn(play(Plan::new(settings.seed, variant, vec![NEVER.to_owned()]), settings.keep));
    }
    while let Some(played) = worlds.join_next().await {
        let outcome = played??;
        let number = |name: &str| outcome.counts[name].as_u64().unwrap_or_default();
        println!(
            "  variant {}: {} points, {} suspensions, {:.1} s{}",
            outcome.plan.variant,
            number("points"),
            number("suspensions"),
            outcome.seconds,
            if outcome.breaches.is_empty() { String::new() } else { format!(", BROKEN: {:?}", outcome.breaches) }
        );
        space.points = space.points.max(number("points"));
        space.suspensions = space.suspensions.max(number("suspensions"));
        if let Value::Object(names) = &outcome.counts["by_point"] {
            space.names.extend(names.keys().cloned());
        }
        if settings.verbose {
            println!("    {}\n    {}", outcome.counts["by_point"], outcome.counts["by_task"]);
        }
        score.add(&outcome);
    }
    println!("  {} named points", space.names.len());
    Ok(space)
}

/// A first death, and then one in each recovery.
fn world(first: String, n: u64, seed: u64) -> Plan {
    let mut dice = Dice(seed ^ n.wrapping_mul(0xA076_1D64_78BD_642F));
    let recoveries = (0..RECOVERIES).map(|_| match dice.below(2) {
        0 => format!("point:{}", 1 + dice.below(RECOVERY_POINTS)),
        _ => format!("suspension:{}", 1 + dice.below(RECOVERY_SUSPENSIONS)),
    });
    let deaths = std::iter::once(first).chain(recoveries.collect::<Vec<_>>()).collect();
    Plan::new(seed.wrapping_add(n), n % VARIANTS, deaths)
}

/// Every name; then numbers of points and of suspensions from end to end, as many of each as `most` says. Another seed
/// begins elsewhere, so that many seeds together take all.
fn enumerated(space: &Space, seed: u64, most: u64) -> Vec<Plan> {
    let spread = |last: u64| {
        let step = last.div_ceil(most.max(1)).max(1);
        (1 + seed % step..=last).step_by(step as usize)
    };
    let names = space.names.iter().filter(|name| !CALENDAR.contains(&name.as_str()));
    let firsts = names
        .flat_map(|name| (1..=2).map(move |n| format!("name:{name}:{n}")))
        .chain(spread(space.points).map(|n| format!("point:{n}")))
        .chain(spread(space.suspensions).map(|n| format!("suspension:{n}")));
    let mut plans: Vec<Plan> = (0..).zip(firsts).map(|(n, first)| world(first, n, seed)).collect();
    for (place, name) in CALENDAR.iter().enumerate() {
        let plan = Plan { wait_for_minute: true, ..Plan::new(seed, 0, vec![format!("name:{name}:1")]) };
        plans.insert(place, plan);
    }
    plans
}

fn finish(score: &Score, settings: &Settings, begun: Instant) -> Result<(), Failure> {
    score.print(settings.seed, begun.elapsed());
    score.write(settings.json.as_deref(), score.json(settings.seed, begun.elapsed()))
}

/// The points that stand in the source by name; those of calls are named as they are passed.
fn written() -> std::io::Result<BTreeSet<String>> {
    const POINT: &str = "crash::point(\"";
    let (mut names, mut dirs) = (BTreeSet::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(path)?;
                names.extend(text.split(POINT).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    Ok(names)
}

/// A point that no life died at is gone to again, in every variant, and in the recovery from a death amid a submit: what a
/// machine's pace decides comes up in one of the rounds. What is left was not died at.
async fn cover(settings: &Settings, score: &mut Score) -> Result<BTreeSet<String>, Failure> {
    let written = written()?;
    for round in 0..COVER_ROUNDS {
        let missing = score.not_died_at(&written);
        let plans = missing.iter().flat_map(|name| {
            let wait_for_minute = CALENDAR.contains(&name.as_str());
            let here = format!("name:{name}:1");
            let ways = [vec![here.clone()], vec!["name:submit.before_send:1".to_owned(), here]];
            let both = ways.into_iter().flat_map(|deaths| (0..VARIANTS).map(move |variant| (variant, deaths.clone())));
            both.map(move |(variant, deaths)| {
                let plan = Plan::new(settings.seed.wrapping_add(round), variant, deaths);
                Plan { wait_for_minute, ..plan }
            })
        });
        run(plans.collect(), settings, score, usize::MAX).await?;
    }
    Ok(score.not_died_at(&written))
}

pub async fn count(settings: &Settings) -> Result<bool, Failure> {
    let mut score = Score::default();
    measure(settings, &mut score).await?;
    Ok(score.is_clean())
}

pub async fn every(settings: &Settings) -> Result<bool, Failure> {
    let (begun, mut score) = (Instant::now(), Score::default());
    let space = measure(settings, &mut score).await?;
    let plans = enumerated(&space, settings.seed, u64::MAX);
    run(plans, settings, &mut score, settings.kills.unwrap_or(usize::MAX)).await?;
    let missing = cover(settings, &mut score).await?;
    finish(&score, settings, begun)?;
    println!("  not died at: {missing:?}");
    Ok(score.is_clean())
}

pub async fn pairs(settings: &Settings) -> Result<bool, Failure> {
    let (begun, mut score) = (Instant::now(), Score::default());
    let short = |seed, deaths| Plan { short: true, ..Plan::new(seed, seed % VARIANTS, deaths) };
    let outcome = play(short(0, vec![NEVER.to_owned()]), settings.keep).await?;
    let points = outcome.counts["points"].as_u64().unwrap_or_default();
    println!("  {points} points; pairs with each of the {RECOVERY_POINTS} of a recovery");
    let pairs = (1..=points).flat_map(|i| (1..=RECOVERY_POINTS).map(move |j| (i, j)));
    let plans =
        (settings.seed..).zip(pairs).map(|(n, (i, j))| short(n, vec![format!("point:{i}"), format!("point:{j}")]));
    // Fewer kills are spread evenly over all pairs.
    let every = settings.kills.map_or(1, |kills| (2 * points * RECOVERY_POINTS) as usize / kills.max(1)).max(1);
    run(plans.step_by(every).collect(), settings, &mut score, settings.kills.unwrap_or(usize::MAX)).await?;
    finish(&score, settings, begun)?;
    Ok(score.is_clean())
}

pub async fn random(settings: &Settings) -> Result<bool, Failure> {
    let (begun, mut score) = (Instant::now(), Score::default());
    if let Some(text) = &settings.replay {
        let settings = Settings { verbose: true, ..settings.clone() };
        run(vec![read_words(text)?], &settings, &mut score, usize::MAX).await?;
        finish(&score, &settings, begun)?;
        return Ok(score.is_clean());
    }
    let space = measure(settings, &mut score).await?;
    let enough = settings.kills.unwrap_or(CI_KILLS);
    let plans = drawn(&space, settings.seed, enough);
    run(plans, settings, &mut score, enough).await?;
    finish(&score, settings, begun)?;
    Ok(score.is_clean())
}

fn drawn(space: &Space, seed: u64, enough: usize) -> Vec<Plan> {
    let mut dice = Dice(seed);
    let first = |dice: &mut Dice| match dice.below(2) {
        0 => format!("point:{}", 1 + dice.below(space.points)),
        _ => format!("suspension:{}", 1 + dice.below(space.suspensions)),
    };
    // Half as many worlds as kills is more than enough, for nearly every world has several.
    (0..enough as u64).map(|n| world(first(&mut dice), n, seed)).collect()
}

/// All points, 2,000 kills, and the teeth; fails when anything broke, was not covered or was not caught.
pub async fn ci(settings: &Settings) -> Result<bool, Failure> {
    let (begun, mut score) = (Instant::now(), Score::default());
    let space = measure(settings, &mut score).await?;
    let enough = settings.kills.unwrap_or(CI_KILLS);
    // Nine in ten lives die as they should; what the names leave is shared by points and suspensions.
    let worlds = enough as u64 * 10 / (9 * (RECOVERIES + 1) as u64);
    let left = worlds.saturating_sub(2 * space.names.len() as u64).max(100);
    let mut plans = enumerated(&space, settings.seed, left / 2);
    plans.extend(drawn(&space, settings.seed, enough));
    run(plans, settings, &mut score, enough).await?;
    let missing = cover(settings, &mut score).await?;
    finish(&score, settings, begun)?;
    let covered = missing.is_empty();
    println!(
        "  {}",
        if covered { "every named point was died at".to_owned() } else { format!("NOT DIED AT: {missing:?}") }
    );
    let caught = teeth::bite(settings).await?;
    let mut board = score.json(settings.seed, begun.elapsed());
    board["teeth"] = json!(caught.iter().map(teeth::Tooth::json).collect::<Vec<_>>());
    score.write(settings.json.as_deref(), board)?;
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    Ok(score.is_clean() && covered && caught.iter().all(teeth::Tooth::bites))
}
