//! A scenario up to a line.

use crate::ast::{Scenario, Statement};

/// The scenario without what begins behind `line`. Blocks lose what is behind it, but a concurrent one stays whole: its tasks go
/// at once. `None` when the line is before the scenario.
#[must_use]
pub fn until(scenario: &Scenario, line: u32) -> Option<Scenario> {
    (scenario.place.line <= line).then(|| {
        let mut cut = scenario.clone();
        keep(&mut cut.body, line);
        cut
    })
}

fn keep(body: &mut Vec<Statement>, line: u32) {
    body.retain_mut(|statement| match statement {
        Statement::Step(step) => step.place.line <= line,
        Statement::Claim(claim) => claim.place.line <= line,
        Statement::Concurrent(block) => block.place.line <= line,
        Statement::Setup(inner) | Statement::Repeat(_, inner) => {
            keep(inner, line);
            !inner.is_empty()
        }
    });
}

#[cfg(test)]
mod tests {
    use super::until;

    const TEXT: &str =
        "scenario \"t\"\nfs a ext4 mem=2M\nsetup\n  creat /f\n  creat /g\nend\nconcurrent\n  creat /h\nend\ncreat /i\n";

    #[test]
    fn what_begins_behind_the_line_goes() {
        let file = crate::parse(TEXT).expect("it parses");
        let scenario = &file.scenarios[0];
        let printed = |line| {
            let cut = until(scenario, line)?;
            let file = crate::File { scenarios: vec![cut], ..file.clone() };
            Some(crate::print(&file))
        };
        let head = "scenario \"t\"\nfs a ext4 mem=2M\n";
        assert_eq!(printed(0), None);
        assert_eq!(printed(3).as_deref(), Some(head));
        assert_eq!(printed(4), Some(format!("{head}setup\n  creat /f\nend\n")));
        assert_eq!(printed(6), Some(format!("{head}setup\n  creat /f\n  creat /g\nend\n")));
        let all = printed(10).expect("all of it");
        assert_eq!(printed(7), Some(all.replace("creat /i\n", "")));
        assert_eq!(until(scenario, 10).as_ref(), Some(scenario));
    }
}
