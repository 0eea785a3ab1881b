//! dax-debugfs
fn main() {}
