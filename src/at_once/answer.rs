//! An answer, or how one comes about.

use crate::body::Wake;

/// What is said at once.
pub(crate) enum AtOnce<R> {
    /// The answer. Its body is in memory, or can be read without waiting.
    Answer(R),
    /// Another request is getting what is asked for. Ask this, which never waits, when you are woken, or when
    /// your patience ends.
    Wait(Box<dyn FnOnce() -> AtOnce<R> + Send>),
    /// Somebody has to wait for it: this does. Dropped undone, it releases whoever counted on it.
    Work(Box<dyn FnOnce() -> R + Send>),
}

/// Makes what is called when it is worth asking again; asked for where somebody has to wait.
pub(crate) type Wakes<'a> = &'a dyn Fn() -> Wake;

impl<R: 'static> AtOnce<R> {
    /// The same with another answer in the end.
    pub(crate) fn map<S: 'static>(self, change: impl Fn(R) -> S + Send + 'static) -> AtOnce<S> {
        match self {
            Self::Answer(answer) => AtOnce::Answer(change(answer)),
            Self::Wait(again) => AtOnce::Wait(Box::new(move || again().map(change))),
            Self::Work(work) => AtOnce::Work(Box::new(move || change(work()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(at_once: AtOnce<u32>) -> u32 {
        match at_once {
            AtOnce::Answer(answer) => answer,
            AtOnce::Wait(again) => end(again()),
            AtOnce::Work(work) => work(),
        }
    }

    #[test]
    fn the_end_is_changed_whichever_way_it_comes_about() {
        let ways: [fn() -> AtOnce<u32>; 3] = [
            || AtOnce::Answer(1),
            || AtOnce::Work(Box::new(|| 1)),
            || AtOnce::Wait(Box::new(|| AtOnce::Wait(Box::new(|| AtOnce::Work(Box::new(|| 1)))))),
        ];
        for way in ways {
            assert_eq!(end(way().map(|answer| answer + 1)), 2);
        }
    }
}
