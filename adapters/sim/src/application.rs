//! Applications that run inside a world.

use std::time::Duration;

use steadfast::{Event, Time};

use crate::world::{End, World};

/// The logic of an application, as it would stand behind a runtime's adapter: it hears what its sockets tell, and does
/// what it wants with the world's ends. One value may play all sides of a test, or only the servers.
pub trait Application {
    /// A socket has told something. Messages are taken with [`World::recv`] when it tells `Readable`.
    fn event(&mut self, world: &mut World, end: End, event: Event);

    /// When [`Application::timer`] wants to be called; `None` for never.
    fn next_timer(&self) -> Option<Time> {
        None
    }

    /// The time that [`Application::next_timer`] has given has come. It must give a later one then, or none.
    fn timer(&mut self, _world: &mut World) {}
}

impl World {
    /// Lets everything happen that happens within `duration`, with an application that hears of it, and ends at its end.
    pub fn run_app(&mut self, app: &mut impl Application, duration: Duration) {
        let end = self.now() + duration;
        self.run_app_until(app, end, |_, _| false);
    }

    /// As [`World::run_app`], until `done` or `end`, whichever is first. Whether it is done.
    pub fn run_app_until<A: Application>(
        &mut self,
        app: &mut A,
        end: Time,
        mut done: impl FnMut(&World, &A) -> bool,
    ) -> bool {
        loop {
            while let Some((from, event)) = self.next_told() {
                app.event(self, from, event);
            }
            if done(self, app) {
                return true;
            }
            let timer = app.next_timer().filter(|at| *at <= end);
            match (self.next_moment().filter(|at| *at <= end), timer) {
                (moment, Some(timer)) if moment.is_none_or(|moment| timer <= moment) => {
                    self.pass(timer);
                    app.timer(self);
                }
                (Some(_), _) => {
                    self.step();
                }
                (None, _) => {
                    self.pass(end);
                    return done(self, app);
                }
            }
        }
    }
}
