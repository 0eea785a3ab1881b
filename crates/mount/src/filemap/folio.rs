//! (folio)
