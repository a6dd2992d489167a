//! Loads the service: many traces, many readers, and how long it takes from a stop to a reader.
//!
//! ```text
//! load [--traces N] [--readers N] [--every MS] [--seconds N] [--stalled N]
//! ```
//!
//! Each traced program makes a call every few milliseconds, and gives it the time as an argument:
//! lseek(2) to that place in `/dev/null`. So a reader knows when the call was made, before its
//! first stop, and no clock of the service is believed.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracehound_service::now;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Loads the service and measures it.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// How many traces run at once
    #[arg(long, default_value_t = 200)]
    traces: usize,
    /// How many readers there are, spread over the traces
    #[arg(long, default_value_t = 1000)]
    readers: usize,
    /// How many milliseconds each traced program sleeps between two calls
    #[arg(long, default_value_t = 100)]
    every: u64,
    /// For how long is measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many more readers never read
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Be the program that is traced
    #[arg(long, hide = true)]
    tick: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.tick {
        return tick(args.every);
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let (mut service, address) = start()?;
    let measured = measure(&args, address).await;
    kill(Pid::from_raw(i32::try_from(service.id())?), Signal::SIGTERM)?;
    let status = service.wait()?;
    measured?;
    println!("service: {status}");
    Ok(())
}

/// The traced program.
fn tick(every: u64) -> Result<()> {
    let mut nowhere = File::open("/dev/null")?;
    loop {
        nowhere.seek(SeekFrom::Start(now()))?;
        std::thread::sleep(Duration::from_millis(every));
    }
}

fn start() -> Result<(Child, SocketAddr)> {
    let program = std::env::current_exe()?.with_file_name("tracehound-service");
    let mut service = Command::new(program)
        .args(["--listen", "127.0.0.1:0", "--max-readers", "5000"])
        .env_remove("TRACEHOUND_TOKEN")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = service.stdout.as_mut().ok_or("no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().rsplit('/').next().unwrap_or_default();
    Ok((service, address.parse()?))
}

async fn measure(args: &Args, address: SocketAddr) -> Result<()> {
    let program = std::env::current_exe()?;
    let every = args.every.to_string();
    let command = json!([program, "--tick", "--every", every]);
    let begun = now();
    for _ in 0..args.traces {
        let body = json!({"command": command, "filter": ["lseek"]}).to_string();
        begin(address, &body).await?;
    }
    let took = Duration::from_nanos(now() - begun);
    println!("{} traces started in {took:.2?}", args.traces);

    let watch = Arc::new(Watch::default());
    let mut stalled = Vec::new();
    for number in 0..args.stalled {
        stalled.push(open(address, number % args.traces + 1).await?);
    }
    let mut readers = JoinSet::new();
    for number in 0..args.readers {
        let tcp = open(address, number % args.traces + 1).await?;
        readers.spawn(read(tcp, Arc::clone(&watch)));
    }
    // What was there before is read first.
    sleep(Duration::from_secs(2)).await;
    watch.measures.store(true, Relaxed);
    sleep(Duration::from_secs(args.seconds)).await;
    watch.measures.store(false, Relaxed);
    watch.ends.store(true, Relaxed);
    let mut delays = Vec::new();
    while let Some(read) = readers.join_next().await {
        delays.append(&mut read??);
    }
    report(args, &mut delays, watch.lost.load(Relaxed));
    Ok(())
}

#[derive(Default)]
struct Watch {
    measures: AtomicBool,
    ends: AtomicBool,
    lost: AtomicUsize,
}

/// Begins a trace.
async fn begin(address: SocketAddr, body: &str) -> Result<()> {
    let length = body.len();
    let head = format!(
        "POST /traces HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut tcp = TcpStream::connect(address).await?;
    tcp.write_all((head + body).as_bytes()).await?;
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await?;
    match answer.get(9..12) {
        Some("201") => Ok(()),
        _ => Err(answer.into()),
    }
}

async fn open(address: SocketAddr, trace: usize) -> Result<TcpStream> {
    let mut tcp = TcpStream::connect(address).await?;
    let request = format!("GET /traces/{trace}/events?from=newest HTTP/1.0\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    Ok(tcp)
}

/// Reads events; gives the delays of those that came while it was measured, in nanoseconds.
async fn read(mut tcp: TcpStream, watch: Arc<Watch>) -> Result<Vec<u64>> {
    let mut delays = Vec::new();
    let mut bytes = Vec::new();
    while !watch.ends.load(Relaxed) {
        if tcp.read_buf(&mut bytes).await? == 0 {
            return Err("a stream has ended".into());
        }
        let now = now();
        let Some(end) = bytes.windows(2).rposition(|two| two == b"\n\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        for line in text.lines() {
            if line == "event: lost" {
                watch.lost.fetch_add(1, Relaxed);
            }
            if let Some(made) = made(line).filter(|_| watch.measures.load(Relaxed)) {
                delays.push(now.saturating_sub(made));
            }
        }
        bytes.drain(..end + 2);
    }
    Ok(delays)
}

/// When the call of an event was made.
fn made(line: &str) -> Option<u64> {
    let (_, args) = line.strip_prefix("data: ")?.split_once("\"args\":[")?;
    let offset = args.split('"').nth(3)?;
    u64::from_str_radix(offset.strip_prefix("0x")?, 16).ok()
}

fn report(args: &Args, delays: &mut [u64], lost: usize) {
    delays.sort_unstable();
    let quantile = |part: f64| {
        let at = (delays.len() as f64 * part) as usize;
        let delay = delays.get(at.min(delays.len().saturating_sub(1)));
        Duration::from_nanos(delay.copied().unwrap_or_default())
    };
    let rate = delays.len() as u64 / args.seconds.max(1);
    let Args {
        traces,
        readers,
        stalled,
        every,
        ..
    } = args;
    println!("{traces} traces, a call every {every} ms, {readers} readers, {stalled} stalled ones");
    println!("{rate} events per second delivered, {lost} times lost");
    println!(
        "from the call to the reader: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, p99.9 {:.2?}, most {:.2?}",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
}
