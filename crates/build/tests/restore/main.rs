//! Images built from their texts: the same bytes, or those of an edited text.

mod edited;
mod hostile;
mod images;
mod same;
