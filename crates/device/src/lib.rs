//! daxkit-device
