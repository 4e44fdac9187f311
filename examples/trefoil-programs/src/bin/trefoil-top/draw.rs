//! Draws the screen, of whatever size it is.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, List, ListItem, ListState, Paragraph, Wrap};

use crate::app::{App, Mark, Row, TABS};

/// The width of the bar of a map.
const BAR: usize = 20;
/// From this height on there is room for details.
const ROOM_FOR_DETAILS: u16 = 14;

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Colours(pub bool);

impl Colours {
    fn style(self, colour: Color) -> Style {
        match self.0 {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn mark(self, mark: Mark) -> Style {
        match mark {
            Mark::None => Style::new(),
            Mark::Section => Style::new().add_modifier(Modifier::BOLD),
            Mark::Busy => self.style(Color::Green),
            Mark::Bad => self.style(Color::Red),
        }
    }
}

pub(crate) fn draw(app: &App, colours: Colours, frame: &mut Frame<'_>) {
    let area = frame.area();
    let rows = app.rows();
    let selected = rows.get(app.selected);
    let detail = selected.map(|row| row.detail.as_str()).unwrap_or_default();
    let details = match height_of(detail, area.width) {
        0 => 0,
        height if area.height >= ROOM_FOR_DETAILS => height.min(area.height / 2),
        _ => 0,
    };
    let heights = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(details),
        Constraint::Length(1),
    ];
    let [top, tabs, heading, list, below, keys] = Layout::vertical(heights).areas(area);

    frame.render_widget(title(app, colours), top);
    frame.render_widget(tab_line(app, tabs.width), tabs);
    let heading_text = Line::from(app.heading()).style(Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(heading_text, heading);
    let items = rows.iter().map(|row| item(row, colours));
    let items = List::new(items).highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = ListState::default().with_selected(Some(app.selected));
    frame.render_stateful_widget(items, list, &mut state);
    if details > 0 {
        let text = Paragraph::new(detail).wrap(Wrap { trim: false });
        frame.render_widget(text.block(Block::bordered()), below);
    }
    let footer = match app.message() {
        Some(message) => Line::from(message).style(Style::new().add_modifier(Modifier::BOLD)),
        None => Line::from(app.keys()).style(Style::new().add_modifier(Modifier::DIM)),
    };
    frame.render_widget(footer, keys);
    if let Some((_, question)) = &app.confirm {
        ask(question, frame, area);
    }
}

fn title<'a>(app: &'a App, colours: Colours) -> Line<'a> {
    let mut line = Line::from(vec![
        Span::from("trefoil-top ").style(Style::new().add_modifier(Modifier::BOLD)),
        Span::from(format!("process {}, {}", app.process, app.program)),
    ]);
    if let Some(why) = &app.lost {
        line.push_span(Span::from(format!("  {why}")).style(colours.style(Color::Red)));
    }
    line
}

/// All tabs, or where there is no room for them, the one that is shown.
fn tab_line(app: &App, width: u16) -> Line<'static> {
    let style = |tab| match tab == app.tab {
        true => Style::new().add_modifier(Modifier::REVERSED),
        false => Style::new(),
    };
    let spans = TABS.iter().enumerate().map(|(at, tab)| {
        Span::from(format!(" {} {} ", at + 1, app.title(*tab))).style(style(*tab))
    });
    let all = Line::from(spans.collect::<Vec<_>>());
    if all.width() <= usize::from(width) {
        return all;
    }
    let at = TABS.iter().position(|tab| *tab == app.tab).unwrap_or(0);
    let title = format!(" {} of {}: {} ", at + 1, TABS.len(), app.title(app.tab));
    Line::from(title).style(style(app.tab))
}

fn item(row: &Row, colours: Colours) -> ListItem<'static> {
    let bar = row.part.map(|part| {
        let full = (part.clamp(0.0, 1.0) * BAR as f64) as usize;
        let bar = "█".repeat(full) + &"░".repeat(BAR - full);
        Span::from(format!("{bar} {:>3.0} % ", part * 100.0))
    });
    let text = Span::from(row.text.replace('\n', " ")).style(colours.mark(row.mark));
    let spans: Vec<Span<'_>> = bar.into_iter().chain([text]).collect();
    ListItem::new(Line::from(spans))
}

/// How high a box with this text is; words that are moved to the next line may need one more.
fn height_of(text: &str, width: u16) -> u16 {
    let inside = usize::from(width.saturating_sub(2)).max(1);
    let lines = text
        .lines()
        .map(|line| Line::from(line).width() / inside + 1);
    match lines.sum::<usize>() {
        0 => 0,
        lines => u16::try_from(lines + 2).unwrap_or(u16::MAX),
    }
}

/// A question in the middle of the screen.
fn ask(question: &str, frame: &mut Frame<'_>, area: Rect) {
    let width = area.width.min(64);
    let text = format!("{question}\ny: yes, n: no");
    let height = height_of(&text, width).min(area.height);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let text = Paragraph::new(text).wrap(Wrap { trim: true });
    frame.render_widget(text.block(Block::bordered()), place);
}
