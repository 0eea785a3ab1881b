//! The tool on a pseudo-terminal: typed input, and what appears.

#![allow(dead_code, unreachable_pub)]

use anstream::adapter::StripBytes;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// So long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

pub const PROMPT: &str = "dax-debugfs: ";
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_U: &str = "\x15";
pub const UP: &str = "\x1b[A";

#[derive(Default)]
struct Seen {
    /// As it came.
    raw: Vec<u8>,
    /// Without escape sequences and zero bytes.
    text: String,
    ended: bool,
}

/// See the module.
pub struct Terminal {
    keyboard: File,
    /// The tool's side, kept open so that its settings can be asked for.
    line: File,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    child: Child,
    /// What was expected ends here in the text.
    read: usize,
}

impl Terminal {
    /// Starts the tool in a session of its own, on a screen of 24 rows and 80 columns.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let line = File::options().read(true).write(true).open(Path::new(name.to_str().unwrap())).unwrap();
        let mut command = Command::new("setsid");
        command.arg("-c").arg(env!("CARGO_BIN_EXE_dax-debugfs")).args(args);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8");
        command.envs(env.iter().copied());
        let end = || line.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot run setsid (package util-linux): {e}"));
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let mut screen = File::from(master);
        let keyboard = screen.try_clone().unwrap();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || watch(&mut screen, &shared));
        Self { keyboard, line, seen, child, read: 0 }
    }

    pub fn send(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `wanted` appears, and returns what came before it.
    pub fn expect(&mut self, wanted: &str) -> String {
        let (seen, changed) = &*self.seen;
        let begin = Instant::now();
        let mut seen = seen.lock().unwrap();
        loop {
            if let Some(at) = seen.text[self.read..].find(wanted) {
                let before = seen.text[self.read..self.read + at].to_owned();
                self.read += at + wanted.len();
                return before;
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            assert!(!left.is_zero() && !seen.ended, "{wanted:?} is missing in {:?}", &seen.text[self.read..]);
            seen = changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Types a command at the prompt, and returns what it prints.
    pub fn run(&mut self, command: &str) -> String {
        self.send(command);
        self.send("\r");
        // What was typed is shown; a longer line breaks.
        self.expect("\n");
        self.expect(PROMPT).replace('\r', "")
    }

    /// Everything that came so far, as it came.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.0.lock().unwrap().raw).into_owned()
    }

    /// Whether lines are edited by the kernel: the tool has left the terminal as it was.
    pub fn is_cooked(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the tool.
    pub fn end(mut self) -> ExitStatus {
        let begin = Instant::now();
        // There is no way to wait for a child and a clock at once.
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::yield_now();
        }
        panic!("the tool does not end: {:?}", self.seen.0.lock().unwrap().text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(screen: &mut File, shared: &(Mutex<Seen>, Condvar)) {
    let (seen, changed) = shared;
    let mut strip = StripBytes::new();
    let mut bytes = vec![0; 1 << 16];
    // A terminal whose other side is closed fails.
    while let Ok(n @ 1..) = screen.read(&mut bytes) {
        let mut seen = seen.lock().unwrap();
        seen.raw.extend(&bytes[..n]);
        for part in strip.strip_next(&bytes[..n]) {
            seen.text.extend(String::from_utf8_lossy(part).chars().filter(|c| *c != '\0'));
        }
        changed.notify_all();
    }
    seen.lock().unwrap().ended = true;
    changed.notify_all();
}
