//! A service under test and a client, small enough to be sure of.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long anything may take before a test calls it stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(60);

/// The program, running. It is killed in the end.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Service::start_with_token(flags, None)
    }

    pub(crate) fn start_with_token(flags: &[&str], token: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracehound-service"));
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(flags);
        command
            .env_remove("TRACEHOUND_TOKEN")
            .stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("TRACEHOUND_TOKEN", token);
        }
        let mut child = command.spawn().expect("the service starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.expect("its address").parse().expect("an address");
        Service { child, address }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Tells it to end, and waits.
    pub(crate) async fn terminate(&mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).expect("it lives");
        let mut status = None;
        until("the service ends", || {
            status = self.child.try_wait().expect("a status");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let mut answer = self.open(method, path, headers, body).await;
        answer.read_all().await;
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, "", "").await
    }

    pub(crate) async fn post(&self, body: Value) -> Answer {
        let json = "content-type: application/json\r\n";
        self.request("POST", "/traces", json, &body.to_string())
            .await
    }

    /// Begins a trace; gives its id.
    pub(crate) async fn trace(&self, body: Value) -> u64 {
        let answer = self.post(body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_u64().expect("an id")
    }

    /// Sends a request and reads the head of its answer. HTTP 1.0: the body ends with the
    /// connection.
    pub(crate) async fn open(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let tcp = TcpStream::connect(self.address).await.expect("it listens");
        self.open_on(tcp, method, path, headers, body).await
    }

    async fn open_on(
        &self,
        mut tcp: TcpStream,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.0\r\n{headers}content-length: {length}\r\n\r\n{body}");
        // It may have answered before it has read all.
        let _ = tcp.write_all(request.as_bytes()).await;
        let mut answer = Answer {
            tcp,
            status: 0,
            head: String::new(),
            body: Vec::new(),
        };
        let end = loop {
            let end = answer.body.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => assert!(answer.read().await, "an answer"),
            }
        };
        let rest = answer.body.split_off(end + 4);
        let head = std::mem::replace(&mut answer.body, rest);
        answer.head = String::from_utf8(head).expect("text").to_lowercase();
        answer.status = answer.head[9..12].parse().expect("a status");
        answer
    }

    /// Asks for a trace's events, with little room for those that are not read.
    pub(crate) async fn events_unread(&self, id: u64, query: &str) -> Answer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let tcp = socket.connect(self.address).await.expect("it listens");
        let path = format!("/traces/{id}/events{query}");
        let answer = self.open_on(tcp, "GET", &path, "", "").await;
        assert_eq!(answer.status, 200);
        answer
    }

    /// Reads a trace's events.
    pub(crate) async fn events(&self, id: u64, query: &str, headers: &str) -> Answer {
        let path = format!("/traces/{id}/events{query}");
        let answer = self.open("GET", &path, headers, "").await;
        assert_eq!(answer.status, 200);
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, whose body may still be coming.
pub(crate) struct Answer {
    tcp: TcpStream,
    pub(crate) status: u16,
    pub(crate) head: String,
    body: Vec<u8>,
}

/// A server-sent event.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) id: Option<u64>,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Answer {
    /// Reads some of the body; gives whether there was any.
    async fn read(&mut self) -> bool {
        let read = self.tcp.read_buf(&mut self.body);
        let read = tokio::time::timeout(STUCK, read)
            .await
            .expect("stuck: an answer");
        read.is_ok_and(|length| length > 0)
    }

    pub(crate) async fn read_all(&mut self) {
        while self.read().await {}
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is an error, and as all of them are.
    pub(crate) fn refuses(&self, status: u16, reason: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(
            self.head.contains("content-type: application/json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["error"]["reason"], reason, "{self:?}");
        let message = json["error"]["message"].as_str().expect("a message");
        assert!(!message.is_empty());
    }

    /// The next event, unless the stream has ended.
    pub(crate) async fn event(&mut self) -> Option<Sent> {
        loop {
            if let Some(end) = self.body.windows(2).position(|two| two == b"\n\n") {
                let rest = self.body.split_off(end + 2);
                let block = std::mem::replace(&mut self.body, rest);
                if let Some(sent) = parse(&String::from_utf8(block).expect("text")) {
                    return Some(sent);
                }
                continue;
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next event of a kind.
    pub(crate) async fn event_of(&mut self, kind: &str) -> Sent {
        loop {
            let sent = self.event().await.expect("the stream goes on");
            if sent.kind == kind {
                return sent;
            }
        }
    }

    pub(crate) async fn all_events(mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(sent) = self.event().await {
            all.push(sent);
        }
        all
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.head, self.text())
    }
}

/// Nothing for a comment.
fn parse(block: &str) -> Option<Sent> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(Sent {
        id: field("id").map(|id| id.parse().expect("a number")),
        kind: field("event")?.to_string(),
        data: serde_json::from_str(field("data")?).expect("JSON"),
    })
}

/// Waits until a condition holds that nothing tells of.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < STUCK, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A line of `/proc/PID/status`, if the process is there.
pub(crate) fn status(pid: i64, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim_start_matches(':').trim().to_string())
}

/// Whether a process is there and alive.
pub(crate) fn lives(pid: i64) -> bool {
    status(pid, "State").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Who traces a process: zero for nobody.
pub(crate) fn tracer(pid: i64) -> i64 {
    let tracer = status(pid, "TracerPid");
    tracer.and_then(|pid| pid.parse().ok()).unwrap_or(-1)
}

/// A process to be attached to, killed in the end.
pub(crate) struct Victim(pub(crate) Child);

impl Victim {
    pub(crate) fn new(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program).args(args).spawn();
        Victim(child.expect("it starts"))
    }

    pub(crate) fn pid(&self) -> i64 {
        self.0.id().into()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
