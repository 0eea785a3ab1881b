//! Layers put on each other, held against a model that knows nothing of how they are put together: random stacks of archives
//! and directories, and the corners by name.

mod corners;
mod model;
mod stack;
mod ustar;
