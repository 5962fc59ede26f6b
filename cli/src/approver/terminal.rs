//! The real terminal: single keys in, a screen out, everything put back at the end.

use super::run::Input;
use super::screen::{Line, Style};
use crate::output::{Failure, Outcome};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use std::io::{Stdout, Write};
use tokio::sync::mpsc::Sender;
use zeroize::Zeroizing;

/// Longest passphrase in bytes.
const MAX_PASSPHRASE: usize = 1024;

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter.
    Letter(char),
    /// To the next request.
    Next,
    /// To the one before.
    Previous,
    /// The end.
    Interrupt,
}

/// The screen, taken over.
#[derive(Debug)]
pub struct Terminal {
    out: Stdout,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn open() -> Outcome<Self> {
        terminal::enable_raw_mode().map_err(broken)?;
        // From here on dropping it puts the terminal back.
        let mut opened = Self { out: std::io::stdout() };
        execute!(opened.out, EnterAlternateScreen, Hide).map_err(broken)?;
        Ok(opened)
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn size(&self) -> Outcome<(usize, usize)> {
        terminal::size().map(|(columns, rows)| (columns.into(), rows.into())).map_err(broken)
    }

    /// Shows lines in place of what was there.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn show(&mut self, lines: &[Line]) -> Outcome {
        queue!(self.out, BeginSynchronizedUpdate).map_err(broken)?;
        for (row, line) in lines.iter().enumerate() {
            let row = u16::try_from(row).unwrap_or(u16::MAX);
            queue!(self.out, MoveTo(0, row)).map_err(broken)?;
            match line.style {
                Style::Plain => (),
                Style::Strong => queue!(self.out, SetAttribute(Attribute::Bold)).map_err(broken)?,
                Style::Faint => queue!(self.out, SetAttribute(Attribute::Dim)).map_err(broken)?,
                Style::Alarm => {
                    let red = SetForegroundColor(Color::Red);
                    queue!(self.out, red, SetAttribute(Attribute::Bold), SetAttribute(Attribute::Reverse))
                        .map_err(broken)?;
                }
            }
            let plain = SetAttribute(Attribute::Reset);
            queue!(self.out, Print(&line.text), plain, ResetColor, Clear(ClearType::UntilNewLine))
                .map_err(broken)?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate).map_err(broken)?;
        self.out.flush().map_err(broken)
    }

    /// Rings once.
    pub fn ring(&mut self) {
        // Without a bell the request still stands on the screen.
        let _ = self.out.write_all(b"\x07").and_then(|()| self.out.flush());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = execute!(self.out, Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn broken(error: std::io::Error) -> Failure {
    Failure::broken("the terminal", error)
}

/// Reads keys until the end of the program.
pub fn read_keys(inputs: &Sender<Input>) {
    while let Ok(event) = crossterm::event::read() {
        let input = match event {
            Event::Key(key) if key.kind == KeyEventKind::Press => match meaning(key) {
                Some(key) => Input::Key(key),
                None => continue,
            },
            Event::Resize(..) => Input::Redraw,
            _ => continue,
        };
        if inputs.blocking_send(input).is_err() {
            return;
        }
    }
}

fn meaning(key: KeyEvent) -> Option<Key> {
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
        KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            Some(Key::Letter(c.to_ascii_lowercase()))
        }
        KeyCode::Tab | KeyCode::Down | KeyCode::Right => Some(Key::Next),
        KeyCode::BackTab | KeyCode::Up | KeyCode::Left => Some(Key::Previous),
        _ => None,
    }
}

/// Asks for a passphrase, which is not shown; nothing when the person gives up.
///
/// # Errors
/// When there is no terminal.
pub fn ask_passphrase(prompt: &str) -> Outcome<Option<Zeroizing<String>>> {
    eprint!("{prompt}");
    terminal::enable_raw_mode().map_err(broken)?;
    let answer = typed();
    let restored = terminal::disable_raw_mode();
    eprintln!();
    restored.map_err(broken)?;
    answer.map_err(broken)
}

fn typed() -> std::io::Result<Option<Zeroizing<String>>> {
    // Never grows, so that no copy of it is left behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_PASSPHRASE));
    loop {
        let Event::Key(key) = crossterm::event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(Some(text)),
            KeyCode::Esc => return Ok(None),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(None),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) if text.len() + c.len_utf8() <= MAX_PASSPHRASE => text.push(c),
            _ => (),
        }
    }
}
