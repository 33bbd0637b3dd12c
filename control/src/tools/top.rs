//! `top`: what a running server does, by its metrics.

mod figures;
mod scrape;
mod screen;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::figures::Figures;
use self::scrape::Scrape;
use self::screen::View;
use super::{ToolError, print, system};
use crate::args::TopArgs;

/// The size of a look that no terminal shows.
const TEXT_SIZE: (u16, u16) = (100, 39);
/// Looks that the curve of queries shows.
const HISTORY_MAX: usize = 512;

/// Shows a running server's figures until it is told to end, or once.
pub(super) fn top(args: &TopArgs) -> Result<(), ToolError> {
    // A wrong URL or a server without metrics is told before the screen is taken.
    let first = look(&args.metrics)?;
    if args.once || !io::stdout().is_terminal() {
        std::thread::sleep(args.interval);
        let figures = Figures::between(&first.0, &look(&args.metrics)?.0, first.1.elapsed());
        let mut view = View::new(&args.metrics, args.interval);
        view.show(figures);
        return print(text(&view).as_bytes());
    }
    let mut terminal = ratatui::try_init().map_err(system("use the terminal"))?;
    let ended = live(args, first, &mut terminal);
    ratatui::restore();
    ended.map_err(system("use the terminal"))
}

/// The metrics, and when they were read.
fn look(url: &str) -> Result<(Scrape, Instant), ToolError> {
    let failed = |cause| ToolError::Metrics {
        url: url.to_owned(),
        cause,
    };
    let text = scrape::fetch(url).map_err(failed)?;
    let scrape = Scrape::parse(&text);
    // Any server that speaks HTTP could be behind the URL.
    if scrape.is_empty() {
        return Err(failed("there are no metrics of a DNS server".to_owned()));
    }
    Ok((scrape, Instant::now()))
}

fn live(
    args: &TopArgs,
    first: (Scrape, Instant),
    terminal: &mut ratatui::DefaultTerminal,
) -> io::Result<()> {
    let mut last = first;
    let mut view = View::new(&args.metrics, args.interval);
    loop {
        terminal.draw(|frame| view.draw(frame))?;
        if is_told_to_end(args.interval)? {
            return Ok(());
        }
        match look(&args.metrics) {
            Ok(new) => {
                let elapsed = new.1.duration_since(last.1);
                view.show(Figures::between(&last.0, &new.0, elapsed));
                last = new;
            }
            // The server may be starting again.
            Err(error) => view.fail(error.to_string()),
        }
    }
}

/// Waits for so long; true as soon as somebody wants to leave.
fn is_told_to_end(wait: Duration) -> io::Result<bool> {
    let end = Instant::now() + wait;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if !event::poll(left)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let interrupts = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c') if interrupts => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}

/// One look as lines of text.
fn text(view: &View) -> String {
    let (width, height) = TEXT_SIZE;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| view.draw(frame));
    let buffer = terminal.backend().buffer();
    let mut lines = (0..height)
        .map(|y| {
            let line = (0..width).map(|x| buffer[(x, y)].symbol());
            line.collect::<String>().trim_end().to_owned()
        })
        .collect::<Vec<_>>();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_cluster_is_told() {
        let (synced, lost, snapshot) = (Some(true), 12.4, true);
        for (is_synced, data_age, is_from_snapshot, expected) in [
            (None, 0.0, false, "Cluster    none; 0 Services"),
            (Some(false), 0.0, false, "NOT IN SYNC; 0"),
            (synced, 0.0, false, "in sync; 0"),
            (synced, lost, false, "in sync, not followed for 12 s; 0"),
            (
                synced,
                lost,
                snapshot,
                "FROM A SNAPSHOT, not followed for 12 s; 0",
            ),
        ] {
            let mut view = View::new("http://here/metrics", Duration::from_secs(1));
            view.show(Figures {
                is_synced,
                data_age,
                is_from_snapshot,
                ..Figures::default()
            });
            let text = text(&view);
            assert!(text.contains(expected), "`{expected}` is not in:\n{text}");
        }
    }
}
