//! Whole trees, compared by asking for everything that there is.

use crate::call::{On, Op, Out};
use crate::pair::{Difference, Pair, root};

/// The slot that is used for it.
const SLOT: usize = 99;

/// Every name below the root: what it is, its attributes, its bytes and its holes.
pub(crate) fn compare(pair: &mut Pair) -> Result<(), Box<Difference>> {
    root(pair, Op::Sync)?;
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        let names = match root(pair, Op::Readdir(format!("{dir}/")))? {
            Out::Names(names) => names,
            _ => continue,
        };
        for name in names {
            let path = format!("{dir}/{}", String::from_utf8(name).expect("names are ASCII"));
            let Out::Stat(stat) = root(pair, Op::Stat(path.clone(), false))? else { continue };
            match stat.mode >> 12 {
                0o4 => {
                    dirs.push(path.clone());
                    attributes(pair, &path)?;
                }
                0o10 => {
                    attributes(pair, &path)?;
                    content(pair, &path)?;
                }
                0o12 => {
                    root(pair, Op::Readlink(path))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn attributes(pair: &mut Pair, path: &str) -> Result<(), Box<Difference>> {
    let on = || On::Path(path.to_owned());
    root(pair, Op::GetFlags(on()))?;
    root(pair, Op::GetFsx(on()))?;
    if let Out::Names(names) = root(pair, Op::ListXattr(on()))? {
        for name in names {
            root(pair, Op::GetXattr(on(), String::from_utf8(name).expect("names are ASCII")))?;
        }
    }
    Ok(())
}

/// Reads from each place where data begin to where they end; the rest are holes, which read as zero.
fn content(pair: &mut Pair, path: &str) -> Result<(), Box<Difference>> {
    root(pair, Op::Open(SLOT, path.to_owned(), 0, 0))?;
    let mut at = 0;
    // Holes of large files are not read; of small ones they are.
    root(pair, Op::Read(SLOT, Some(0), 200_000))?;
    while let Out::Number(data) = root(pair, Op::Seek(SLOT, at, 3))? {
        let data = data as i64;
        let Out::Number(hole) = root(pair, Op::Seek(SLOT, data, 4))? else { break };
        let hole = hole as i64;
        if hole <= data {
            break;
        }
        if data > 150_000 {
            root(pair, Op::Read(SLOT, Some(data as u64), (hole - data).min(1 << 20) as usize))?;
        }
        at = hole;
    }
    root(pair, Op::Close(SLOT))?;
    Ok(())
}
