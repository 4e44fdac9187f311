//! The live screen: the terminal, keys, signals, and the questions to the program.
//!
//! One task asks the program, so that keys are obeyed while it does not answer. If the connection
//! is lost, it is made again, as long as the process is there.

use std::io::{Error, ErrorKind, IsTerminal, Result};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::process::{Signal, getpgrp, kill_process_group};
use serde_json::{Value, json};
use trefoil::sync::channel::{Receiver, Sender, bounded};
use trefoil::time::{sleep, sleep_until};
use trefoil::{io, select, spawn};

use crate::app::{Act, App, Next, REFRESH, Tab};
use crate::client::Client;
use crate::draw::{Colours, draw};
use crate::views::{Tasks, view};

/// How long to wait before a lost connection is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many questions, answers or keys may wait.
const QUEUE: usize = 64;

/// A question to the program.
enum Ask {
    Snapshot { seen: u64 },
    Tasks(Value),
    Act(Act),
}

/// Its answer.
enum Answer {
    Snapshot(Value),
    Tasks(Value),
    Done(String),
    Lost(String),
    /// It has ended, or listens no more.
    Gone(Error),
}

/// Shows the program until the user has seen enough.
pub(crate) async fn show(client: Client) -> Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let message = "this is not a terminal: use --once or --json";
        return Err(Error::other(message));
    }
    let colours = Colours(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
    // Before the terminal is changed: from here on these signals do not end this program.
    let interrupt = io::Signal::new(Signal::INT.as_raw())?;
    let terminate = io::Signal::new(Signal::TERM.as_raw())?;
    let hang_up = io::Signal::new(Signal::HUP.as_raw())?;
    let mut app = App::new(client.process, client.program.clone());
    let (asks, to_ask) = bounded(QUEUE);
    let (answer, answers) = bounded(QUEUE);
    spawn(talk(client, to_ask, answer)).detach();
    let keys = keys();
    let mut screen = Screen::take();
    let mut next_refresh = Instant::now();
    let mut tasks_again = Instant::now();
    let mut unanswered = 0;
    loop {
        screen.0.draw(|frame| draw(&app, colours, frame))?;
        if Instant::now() >= next_refresh {
            next_refresh = Instant::now() + REFRESH;
            // While the program does not answer, questions do not pile up.
            if unanswered == 0 {
                let seen = app.notes.seen;
                unanswered += usize::from(asks.try_send(Ask::Snapshot { seen }).is_ok());
                if app.tab == Tab::Tasks && Instant::now() >= tasks_again {
                    let wanted = Ask::Tasks(app.wanted_tasks());
                    unanswered += usize::from(asks.try_send(wanted).is_ok());
                }
            }
        }
        select! {
            key = keys.recv() => {
                let key = match key {
                    Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => key,
                    Ok(_) => continue, // drawn again: the size has changed, perhaps
                    Err(_) => return Ok(()), // the terminal is gone
                };
                match app.key(key) {
                    Next::Nothing => {}
                    Next::Quit => return Ok(()),
                    Next::Suspend => screen.suspend()?,
                    Next::Tasks => {
                        let wanted = Ask::Tasks(app.wanted_tasks());
                        unanswered += usize::from(asks.try_send(wanted).is_ok());
                    }
                    Next::Act(act) => match asks.try_send(Ask::Act(act)) {
                        Ok(()) => unanswered += 1,
                        Err(_) => app.says("the program does not answer".to_owned()),
                    },
                }
            },
            answer = answers.recv() => {
                unanswered = unanswered.saturating_sub(1);
                match answer {
                    Ok(Answer::Snapshot(mut answer)) => {
                        if !answer["notes"].is_null() {
                            app.notes = view(answer["notes"].take())?;
                        }
                        app.has_snapshot(view(answer["snapshot"].take())?);
                    }
                    Ok(Answer::Tasks(answer)) => {
                        let tasks: Tasks = view(answer)?;
                        tasks_again = Instant::now() + Duration::from_millis(tasks.again_ms);
                        app.has_tasks(tasks);
                    }
                    Ok(Answer::Done(message)) => {
                        app.says(message);
                        next_refresh = Instant::now();
                    }
                    Ok(Answer::Lost(why)) => app.lost = Some(why),
                    Ok(Answer::Gone(error)) => return Err(error),
                    Err(_) => return Err(Error::other("the connection is lost")),
                }
            },
            () = sleep_until(next_refresh) => {},
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}

/// The terminal, which is given back when this is dropped. (After a panic, ratatui's hook has done
/// so before the message is printed.)
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> Self {
        Self(ratatui::init())
    }

    /// Gives the terminal back, stops, and takes it again when the shell lets this continue.
    fn suspend(&mut self) -> Result<()> {
        ratatui::restore();
        kill_process_group(getpgrp(), Signal::TSTP)?;
        self.0 = ratatui::init();
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The events of the terminal, from a thread that waits for them.
fn keys() -> Receiver<Event> {
    let (sender, receiver) = bounded(QUEUE);
    std::thread::spawn(move || {
        while let Ok(event) = event::read()
            && sender.send_blocking(event).is_ok()
        {}
    });
    receiver
}

/// Asks the program one question after another.
async fn talk(mut client: Client, asks: Receiver<Ask>, answers: Sender<Answer>) {
    while let Ok(ask) = asks.recv().await {
        let answer = match asked(&mut client, &ask).await {
            Ok(answer) => answer,
            // The program has refused.
            Err(error) if error.kind() == ErrorKind::Other => Answer::Done(error.to_string()),
            Err(error) => {
                let _the_screen_is_gone = answers.send(Answer::Lost(error.to_string())).await;
                sleep(AGAIN).await;
                match Client::connect(client.process).await {
                    Ok(again) => {
                        client = again;
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::TimedOut => continue,
                    Err(error) => Answer::Gone(error),
                }
            }
        };
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}

async fn asked(client: &mut Client, ask: &Ask) -> Result<Answer> {
    Ok(match ask {
        Ask::Snapshot { seen } => {
            let request = json!({"ask": "snapshot", "seen": seen});
            Answer::Snapshot(client.ask(&request).await?)
        }
        Ask::Tasks(request) => Answer::Tasks(client.ask(request).await?),
        Ask::Act(Act::Cancel(task)) => {
            let answer = client.ask(&json!({"ask": "cancel", "task": task})).await?;
            let done = match answer["cancelled"].as_bool() {
                Some(true) => "is cancelled",
                Some(false) => "has ended, or runs and was asked to end",
                None => "has ended, or cannot be cancelled from here",
            };
            Answer::Done(format!("task #{task} {done}"))
        }
        Ask::Act(Act::Replace(pid)) => {
            let answer = client.ask(&json!({"ask": "replace", "pid": pid})).await?;
            let done = match answer["replaced"].as_bool() {
                Some(true) => "is replaced",
                _ => "is not a worker of a pool that is watched",
            };
            Answer::Done(format!("process {pid} {done}"))
        }
    })
}
