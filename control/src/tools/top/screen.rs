//! The view of `top`.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table};

use super::HISTORY_MAX;
use super::figures::{Figures, UpstreamFigures};

/// Lines of a terminal that has room for everything.
const TALL: u16 = 33;

/// What is shown.
pub(super) struct View {
    title: String,
    figures: Option<Figures>,
    /// Queries a second, the latest last.
    history: VecDeque<u64>,
    /// Why there is nothing new.
    fault: Option<String>,
}

impl View {
    /// Nothing yet.
    pub(super) fn new(url: &str, interval: Duration) -> Self {
        Self {
            title: format!(
                "martlet top  {url}  every {} s  (q to leave)",
                interval.as_secs_f64()
            ),
            figures: None,
            history: VecDeque::new(),
            fault: None,
        }
    }

    /// Takes new figures.
    pub(super) fn show(&mut self, figures: Figures) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(figures.queries as u64);
        self.figures = Some(figures);
        self.fault = None;
    }

    /// Takes note that there are none.
    pub(super) fn fail(&mut self, fault: String) {
        self.fault = Some(fault);
    }

    /// Draws it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        // Who asks is left out where there is little room.
        let busiest = if frame.area().height < TALL { 0 } else { 9 };
        let [title, queries, lists, rest, upstreams, busiest] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(6),
            Constraint::Length(9),
            Constraint::Length(5),
            Constraint::Min(3),
            Constraint::Length(busiest),
        ])
        .areas(frame.area());
        let heading = self.fault.as_ref().unwrap_or(&self.title);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(&**heading).style(bold), title);
        let Some(figures) = &self.figures else {
            frame.render_widget(Paragraph::new("looking…"), queries);
            return;
        };
        self.draw_queries(figures, queries, frame);
        let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas::<3>(lists);
        for (name, list, area) in [
            ("Codes", &figures.rcodes, columns[0]),
            ("Types", &figures.types, columns[1]),
            ("Answered by", &figures.plugins, columns[2]),
        ] {
            draw_list(name, list, figures.queries, area, frame);
        }
        draw_rest(figures, rest, frame);
        draw_upstreams(&figures.upstreams, upstreams, frame);
        let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas::<3>(busiest);
        for (name, list, area) in [
            ("Busiest clients, 2 min", &figures.clients, columns[0]),
            ("Busiest names, 2 min", &figures.names, columns[1]),
            ("Search lists in vain", &figures.misses, columns[2]),
        ] {
            draw_busiest(name, list, area, frame);
        }
    }

    fn draw_queries(&self, figures: &Figures, area: Rect, frame: &mut Frame<'_>) {
        let block = block("Queries");
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let [line, curve] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(inner);
        let durations = figures.durations.map_or_else(String::new, |[half, most]| {
            format!("   half within {}   99% within {}", time(half), time(most))
        });
        let text = format!(
            "{} q/s{durations}   {:.2} cores   {:.1} MB",
            number(figures.queries),
            figures.cores,
            figures.memory / 1e6,
        );
        frame.render_widget(Paragraph::new(text), line);
        let hidden = self.history.len().saturating_sub(usize::from(curve.width));
        let shown = self.history.iter().skip(hidden).copied();
        frame.render_widget(Sparkline::default().data(shown.collect::<Vec<_>>()), curve);
    }
}

fn block(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).title(title)
}

fn draw_list(name: &str, list: &[(String, f64)], all: f64, area: Rect, frame: &mut Frame<'_>) {
    let rows = list.iter().map(|(value, rate)| {
        let value = if value.is_empty() { "(nobody)" } else { value };
        let part = if all > 0.0 { rate / all * 100.0 } else { 0.0 };
        Row::new([
            value.to_owned(),
            format!("{:>9}", number(*rate)),
            format!("{part:>4.0}%"),
        ])
    });
    let widths = [
        Constraint::Min(10),
        Constraint::Length(9),
        Constraint::Length(5),
    ];
    frame.render_widget(Table::new(rows, widths).block(block(name)), area);
}

fn draw_busiest(name: &str, list: &[(String, f64)], area: Rect, frame: &mut Frame<'_>) {
    let rows = list
        .iter()
        .map(|(of, count)| Row::new([of.clone(), format!("{:>8}", number(*count))]));
    let widths = [Constraint::Min(10), Constraint::Length(8)];
    frame.render_widget(Table::new(rows, widths).block(block(name)), area);
}

fn draw_rest(figures: &Figures, area: Rect, frame: &mut Frame<'_>) {
    let hits = figures.hit_ratio().map_or_else(
        || "no look-ups".to_owned(),
        |ratio| {
            format!(
                "{:.1}% of {} look-ups/s hit",
                ratio * 100.0,
                number(figures.cache_requests)
            )
        },
    );
    let [waiting, running, handed, shed] = figures.slow.map(number);
    let [services, addresses, pods] = figures.cluster.map(number);
    let synced = match figures.is_synced {
        None => "none",
        Some(true) if figures.is_from_snapshot => "FROM A SNAPSHOT",
        Some(true) => "in sync",
        Some(false) => "NOT IN SYNC",
    };
    let age = match figures.data_age {
        0.0 => String::new(),
        age => format!(", not followed for {age:.0} s"),
    };
    let lines = [
        format!(
            "Cache      {hits}; {} entries",
            number(figures.cache_entries)
        ),
        format!("Slow path  {handed} q/s, {waiting} waiting, {running} running, {shed} shed/s"),
        format!(
            "Cluster    {synced}{age}; {services} Services, {addresses} addresses, {pods} pods"
        ),
    ];
    let text = lines.map(Line::from).to_vec();
    frame.render_widget(Paragraph::new(text).block(block("Data")), area);
}

fn draw_upstreams(upstreams: &[UpstreamFigures], area: Rect, frame: &mut Frame<'_>) {
    let header = Row::new([
        "address",
        "replies/s",
        "SERVFAIL/s",
        "mean",
        "failed probes",
    ]);
    let rows = upstreams.iter().map(|upstream| {
        Row::new([
            upstream.to.clone(),
            number(upstream.replies),
            number(upstream.failures),
            upstream.latency.map_or_else(|| "-".to_owned(), time),
            number(upstream.failed_probes),
        ])
    });
    let widths = [
        Constraint::Min(24),
        Constraint::Length(10),
        Constraint::Length(11),
        Constraint::Length(9),
        Constraint::Length(13),
    ];
    let table = Table::new(rows, widths)
        .header(header)
        .block(block("Upstreams"));
    frame.render_widget(table, area);
}

/// A number with as many digits as are worth reading.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        small if small < 10.0 && small.fract() != 0.0 => format!("{small:.1}"),
        large if large >= 1e6 => format!("{:.2}M", large / 1e6),
        other => format!("{other:.0}"),
    }
}

/// Seconds as a readable time.
fn time(seconds: f64) -> String {
    match seconds {
        short if short < 1e-3 => format!("{:.0} µs", short * 1e6),
        middle if middle < 1.0 => format!("{:.1} ms", middle * 1e3),
        long => format!("{long:.2} s"),
    }
}
