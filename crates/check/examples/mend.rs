//! Repairs an image in place, without an undo file.
use daxkit_check::{Options, repair};
use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use std::sync::Arc;

fn main() {
    let path = std::env::args_os().nth(1).expect("an image");
    let device: Arc<dyn BlockDevice> =
        Arc::new(FileDevice::open(path.as_ref(), FileOptions::read_write()).expect("readable"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let repaired = repair(Arc::clone(&device), &Options::new(now), &mut |_| true);
    for finding in &repaired.fixed {
        println!("- {finding}");
    }
    for finding in &repaired.left {
        println!("! {finding}");
    }
    println!("{} rounds", repaired.rounds);
    repaired.edits().apply_to(&device).expect("written");
    device.flush().expect("durable");
    std::process::exit(if repaired.is_clean() { 1 } else { 4 });
}
