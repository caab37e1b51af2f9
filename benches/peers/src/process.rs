//! Runners as processes of their own, and what they cost.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::Failure;

/// Kernel ticks a second, as `/proc/PID/stat` counts them.
const TICKS: f64 = 100.0;

/// One run: orders a second, CPU µs an order, PSS at its end in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub rate: f64,
    pub cpu: f64,
    pub pss: f64,
}

pub fn median(runs: &[Measured]) -> Measured {
    let middle = |of: fn(&Measured) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Measured { rate: middle(|it| it.rate), cpu: middle(|it| it.cpu), pss: middle(|it| it.pss) }
}

/// The instant vendor.
#[derive(Debug)]
pub struct Vendor {
    pub port: u16,
    _child: Child,
}

impl Vendor {
    pub async fn start() -> Result<Vendor, Failure> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("vendor").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let port = said(&mut lines(&mut child)?).await?.parse()?;
        Ok(Vendor { port, _child: child })
    }
}

fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>, Failure> {
    let out = child.stdout.take().ok_or("no standard output")?;
    Ok(BufReader::new(out).lines())
}

async fn said(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String, Failure> {
    Ok(lines.next_line().await?.ok_or("the process ended before it said anything")?)
}

pub fn traced(program: &Path, trace: Option<&Path>) -> Command {
    match trace {
        None => Command::new(program),
        Some(file) => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "--seccomp-bpf", "-q", "-e", "trace=fsync,fdatasync", "-o"]).arg(file).arg(program);
            strace
        }
    }
}

/// The process itself, or strace's child.
pub fn pid_of(child: &Child, trace: Option<&Path>) -> u32 {
    let own = child.id().unwrap_or_default();
    if trace.is_none() {
        return own;
    }
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(own)
}

/// Seconds of CPU so far, all threads together.
pub fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS
}

pub fn pss(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// A runner of this binary: says "ready" when its jobs are in, begins at a line on its input, says "done".
pub async fn worker(
    name: &str,
    port: u16,
    orders: usize,
    jobs_an_order: usize,
    trace: Option<&Path>,
) -> Result<Measured, Failure> {
    let dir = tempfile::tempdir()?;
    let mut child = traced(&std::env::current_exe()?, trace)
        .args([name, &port.to_string(), &(orders * jobs_an_order).to_string()])
        .arg(dir.path().join("jobs.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = lines(&mut child)?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    said(&mut lines).await?;
    let pid = pid_of(&child, trace);
    let (before, begun) = (cpu(pid), Instant::now());
    input.write_all(b"go\n").await?;
    said(&mut lines).await?;
    let (took, used, pss) = (begun.elapsed().as_secs_f64(), cpu(pid) - before, pss(pid));
    input.write_all(b"end\n").await?;
    child.wait().await?;
    Ok(Measured { rate: orders as f64 / took, cpu: used * 1e6 / orders as f64, pss })
}

/// fsyncs an order, counted by strace in a run of their own; None without strace.
pub async fn fsyncs(row: usize, opros: &Path, port: u16, jobs: usize) -> Result<Option<f64>, Failure> {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if !there.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let dir = tempfile::tempdir()?;
    let file: PathBuf = dir.path().join("fsyncs");
    crate::run_under(row, opros, port, jobs, Some(&file)).await?;
    let text = std::fs::read_to_string(&file)?;
    // The set-up's own are some twenty.
    Ok(Some(text.lines().filter(|line| line.contains("sync(")).count() as f64 / jobs as f64))
}
