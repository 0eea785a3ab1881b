//! (icache)
