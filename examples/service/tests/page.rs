//! The page in a headless Chromium, driven by keys through the DevTools protocol. Skipped where
//! there is no Chromium.

mod client;

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use client::{STUCK, Service};
use serde_json::{Value, json};

/// A browser with one page. It ends with this.
struct Browser {
    child: Child,
    requests: PipeWriter,
    answers: BufReader<PipeReader>,
    session: Value,
    last: u64,
    _profile: tempfile::TempDir,
}

const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "--window-size=1200,1100",
];

impl Browser {
    /// Opens an address.
    fn open(address: &str) -> Self {
        let (its_requests, requests) = io::pipe().expect("a pipe");
        let (answers, its_answers) = io::pipe().expect("a pipe");
        let profile = tempfile::tempdir().expect("a directory");
        // It takes requests at descriptor 3 and answers at 4.
        let script = "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let child = Command::new("sh")
            .args(["-c", script, "sh", "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(its_requests)
            .stdout(its_answers)
            .spawn()
            .expect("it starts");
        let mut browser = Browser {
            child,
            requests,
            answers: BufReader::new(answers),
            session: Value::Null,
            last: 0,
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", json!({"url": address}));
        let target = &page["targetId"];
        let attach = json!({"targetId": target, "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].clone();
        // It begins as an empty one.
        browser.until("location.protocol === 'http:' && document.readyState === 'complete'");
        browser
    }

    /// A request and its answer. Events in between are passed over.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        let text = format!("{request}\0");
        self.requests.write_all(text.as_bytes()).expect("it reads");
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).expect("it answers");
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(
            result.get("exceptionDetails").is_none(),
            "{script}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until the time line says that it shows this.
    fn until_range(&mut self, part: &str) {
        self.until(&format!(
            "document.getElementById('range').textContent.includes('{part}')"
        ));
    }

    /// Waits until an expression is true.
    fn until(&mut self, script: &str) {
        let start = Instant::now();
        while self.evaluate(script) != true {
            assert!(
                start.elapsed() < STUCK,
                "never came true: {script}\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn text(&mut self) -> String {
        self.evaluate("document.body.innerText.slice(0, 1500)")
            .to_string()
    }

    fn key(&mut self, key: &str) {
        let (text, code) = match key {
            "Tab" => (None, 9),
            "Enter" => (Some("\r"), 13),
            "PageUp" => (None, 33),
            "PageDown" => (None, 34),
            "End" => (None, 35),
            "Home" => (None, 36),
            "ArrowLeft" => (None, 37),
            "ArrowUp" => (None, 38),
            "ArrowRight" => (None, 39),
            "ArrowDown" => (None, 40),
            other => (Some(other), 0),
        };
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up);
    }

    fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Goes on with Tab until an element has the focus.
    fn tab_to(&mut self, id: &str) {
        for _ in 0..30 {
            if self.evaluate("document.activeElement.id") == id {
                return;
            }
            self.key("Tab");
        }
        panic!("Tab does not lead to {id}");
    }

    /// Writes a picture, if a directory for them is named.
    fn picture(&mut self, scheme: &str) {
        let Some(directory) = std::env::var_os("PICTURES") else {
            return;
        };
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": feature}));
        std::thread::sleep(Duration::from_millis(1500));
        let picture = self.call(
            "Page.captureScreenshot",
            json!({"captureBeyondViewport": true}),
        );
        let data = picture["data"].as_str().expect("a picture");
        let path = Path::new(&directory).join(format!("{scheme}.png.base64"));
        std::fs::write(path, data).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_chromium() -> bool {
    let found = Command::new("chromium").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no chromium");
    }
    found
}

const WORK: &str = "sh -c 'while :; do ls >/dev/null; cat /no; sleep 0.1; done'";

#[test]
fn the_page_shows_a_trace_and_takes_keys() {
    if !has_chromium() {
        return;
    }
    let service = Service::start(&[]);
    let mut page = Browser::open(&format!("http://{}/", service.address));
    page.until("document.getElementById('status').textContent.startsWith('connected')");

    // Nothing is there: no times of nothing, nothing to end.
    page.until("document.getElementById('range').textContent === 'nothing to show yet'");
    assert_eq!(
        page.evaluate("document.getElementById('kill').disabled"),
        true
    );
    // It fits a narrow window.
    let narrow = json!({"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": false});
    page.call("Emulation.setDeviceMetricsOverride", narrow);
    page.until("innerWidth === 320 && document.documentElement.scrollWidth <= 320");
    page.call("Emulation.clearDeviceMetricsOverride", json!({}));

    // A trace is begun, by keys alone.
    page.tab_to("target");
    page.enter("/no/such/program");
    page.key("Enter");
    page.until("document.getElementById('problem').textContent.includes('No such file')");
    page.evaluate("document.getElementById('target').value = ''");
    page.enter(WORK);
    page.key("Enter");
    page.until("document.querySelectorAll('#traces li').length === 1");
    // The tree, the rate, the events.
    page.until("document.querySelectorAll('#tree li').length >= 3");
    page.until("Number(document.getElementById('rate').textContent.replace(/\\D/g, '')) > 0");
    page.until("document.querySelectorAll('#events tr').length === 100");
    page.until("document.querySelectorAll('#events tr.failed').length > 0");
    page.until("document.getElementById('events').innerText.includes('openat(0xffffff9c')");

    // The tree by arrow keys.
    page.tab_to("tree");
    page.key("ArrowUp");
    page.key("ArrowDown");
    page.key("ArrowUp");
    page.until("document.querySelector('#tree li.at').getAttribute('aria-level') === '1'");
    page.until("document.getElementById('tree').getAttribute('aria-activedescendant') === document.querySelector('#tree li').id");
    page.key("ArrowDown");
    page.until(
        "document.querySelector('#tree li.at') === document.querySelectorAll('#tree li')[1]",
    );
    page.key("ArrowUp");
    page.key("ArrowLeft");
    page.until("document.querySelectorAll('#tree li').length === 1");
    page.key("ArrowRight");
    page.until("document.querySelectorAll('#tree li').length > 1");
    // What cannot be folded leads up.
    page.key("ArrowDown");
    page.until("document.querySelector('#tree li.at').getAttribute('aria-level') === '2'");
    page.key("ArrowLeft");
    page.until("document.querySelector('#tree li.at').getAttribute('aria-level') === '1'");
    assert_eq!(
        page.evaluate("document.querySelectorAll('#tree li').length > 1"),
        true
    );
    // Who has the focus shows it, and whoever is drawn anew is the same element, or a click that
    // takes its time would be lost.
    page.until("getComputedStyle(document.querySelector('#tree li.at')).outlineStyle === 'solid'");
    page.evaluate("window.root = document.querySelector('#tree li'); show.before = null");
    page.until("show.before !== null && window.root === document.querySelector('#tree li')");

    // The time line by keys.
    page.tab_to("line");
    let range = "document.getElementById('range').textContent";
    page.until_range("(5,000 ms)");
    page.key("+");
    page.key("+");
    page.until_range("(1,250 ms)");
    page.key("-");
    page.until_range("(2,500 ms)");
    page.key("ArrowLeft");
    page.until("document.getElementById('live').getAttribute('aria-pressed') === 'false'");
    // It is drawn, and stays.
    page.until("show.shownEnd === show.end");
    let still = page.evaluate(range);
    std::thread::sleep(Duration::from_millis(500));
    page.until(&format!(
        "{range}.split(' (')[0] === {still}.split(' (')[0]"
    ));
    page.key("Home");
    page.until("document.getElementById('live').getAttribute('aria-pressed') === 'true'");
    // Something is drawn.
    page.until("new Set(document.getElementById('line').getContext('2d').getImageData(200, 0, 600, 200).data).size > 5");
    page.picture("light");
    page.picture("dark");

    page.evaluate("document.activeElement.blur()");
    page.tab_to("kill");
    page.key("Enter");
    page.until("document.querySelectorAll('#traces li').length === 0");
}

#[test]
fn names_are_text_and_never_markup() {
    if !has_chromium() {
        return;
    }
    let service = Service::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let hostile = directory
        .path()
        .join("<img src=x onerror=document.title=1>");
    // By another process: what this one has open to write, a child of another test may have, too,
    // and then nobody can execute it.
    let copied = Command::new("cp").arg("/bin/sleep").arg(&hostile).status();
    assert!(copied.expect("cp").success());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let command = json!({"command": [hostile, "1000"], "filter": ["clock_nanosleep"]});
    runtime.block_on(service.trace(command));
    let mut page = Browser::open(&format!("http://{}/", service.address));
    page.until("document.body.innerText.includes('<img src=x onerror=')");
    page.until("document.getElementById('tree').innerText.includes('<img src=x')");
    page.until("document.getElementById('events').innerText.includes('<img src=x')");
    assert_eq!(page.evaluate("document.images.length"), 0);
    assert_eq!(page.evaluate("document.title"), "tracehound");
}

#[test]
fn the_page_asks_for_the_token() {
    if !has_chromium() {
        return;
    }
    const TOKEN: &str = "correct horse battery";
    let service = Service::start_with_token(&[], Some(TOKEN));
    let mut page = Browser::open(&format!("http://{}/", service.address));
    page.until("document.getElementById('ask') && !document.getElementById('ask').hidden");
    page.tab_to("token");
    page.enter(TOKEN);
    page.key("Enter");
    page.until("document.getElementById('ask').hidden");
    page.until("document.getElementById('status').textContent.startsWith('connected')");
}

#[test]
fn names_do_not_disturb_the_text_around_them() {
    if !has_chromium() {
        return;
    }
    let service = Service::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    // A line break, an escape code, and what turns the rest of the line around.
    let hostile = directory.path().join("a\nb\u{1b}[31m\u{202e}c");
    let copied = Command::new("cp").arg("/bin/sleep").arg(&hostile).status();
    assert!(copied.expect("cp").success());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let command = json!({"command": [hostile, "1000"], "filter": ["clock_nanosleep"]});
    runtime.block_on(service.trace(command));
    let mut page = Browser::open(&format!("http://{}/", service.address));
    for id in ["traces", "tree", "events"] {
        let text = format!("document.getElementById('{id}').textContent");
        page.until(&format!(
            r"{text}.includes('a\\u{{a}}b\\u{{1b}}[31m\\u{{202e}}c')"
        ));
        assert_eq!(
            page.evaluate(&format!(r"/[\x1b\u202e]/.test({text})")),
            false
        );
    }
}

/// So many processes that not all of their lanes fit.
const CROWD: &str = "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; wait";

#[test]
fn every_process_has_a_lane_that_can_be_read() {
    if !has_chromium() {
        return;
    }
    let service = Service::start(&[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let command = json!({"command": ["sh", "-c", CROWD], "filter": ["execve"]});
    runtime.block_on(service.trace(command));
    let mut page = Browser::open(&format!("http://{}/", service.address));
    page.until("document.querySelectorAll('#tree li').length === 201");
    page.until_range("threads 1 to 15 of 201");
    page.tab_to("line");
    page.key("ArrowDown");
    page.until_range("threads 2 to 16 of 201");
    page.key("PageDown");
    page.until_range("threads 12 to 26 of 201");
    page.key("ArrowUp");
    page.until_range("threads 11 to 25 of 201");
    page.key("PageUp");
    page.until_range("threads 1 to 15 of 201");
    // The lane of what is chosen in the tree is shown.
    page.evaluate("document.activeElement.blur()");
    page.tab_to("tree");
    page.key("End");
    page.until_range("to 201 of 201");
}

#[test]
fn a_lost_connection_is_said_and_found_again() {
    if !has_chromium() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let first = Service::start(&[]);
    let address = first.address;
    let command = json!({"command": ["sh", "-c", "exec ls -R /etc"]});
    runtime.block_on(first.trace(command));
    let mut page = Browser::open(&format!("http://{address}/"));
    page.until("show.last > 20 && document.getElementById('traces').innerText.includes('exited')");
    drop(first);
    page.until("document.getElementById('status').textContent.startsWith('not connected')");
    page.until("document.getElementById('status').className === 'failed'");
    // Another one in its place counts from 1 again.
    let listen = address.to_string();
    let second = Service::start(&["--listen", &listen]);
    let command = json!({"command": ["sleep", "1000"], "filter": ["clock_nanosleep"]});
    runtime.block_on(second.trace(command));
    page.until("document.getElementById('status').textContent.startsWith('connected')");
    page.until("document.getElementById('status').className === ''");
    page.until("document.getElementById('traces').innerText.includes('running: sleep 1000')");
    page.until("document.getElementById('events').innerText.includes('begins: ')");
    page.until("document.querySelectorAll('#events tr').length < 5");
}
