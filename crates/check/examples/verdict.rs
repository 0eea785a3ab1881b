//! Prints the findings of an image.
use daxkit_check::{Options, check};
use daxkit_device::{FileDevice, FileOptions};
use std::sync::Arc;

fn main() {
    let path = std::env::args_os().nth(1).expect("an image");
    let device = Arc::new(FileDevice::open(path.as_ref(), FileOptions::read_only()).expect("readable"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut options = Options::new(now);
    options.threads = 2;
    let start = std::time::Instant::now();
    let report = check(device, &options);
    eprintln!("{:?} {:?}", start.elapsed(), report.usage);
    for finding in &report.findings {
        println!("{finding}");
    }
    std::process::exit(if report.is_clean() { 0 } else { 4 });
}
