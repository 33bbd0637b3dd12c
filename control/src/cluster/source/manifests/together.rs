//! Files read by several threads: one cuts them into objects, which costs little, the others parse
//! pieces of them in turns, which costs much. So a single large file keeps them all busy as well as
//! many small ones do, and memory holds a few pieces, whatever the files hold.

use std::io::{self, Read as _};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::object::{Cut, Found};
use super::{Format, ManifestError, SourceSettings, Stop, json, open, yaml};
use crate::cluster::object::Event;

/// Texts in a piece, in octets; the one that reaches it is the last.
const PIECE_LEN: usize = 1 << 17;

/// What a thread parses at a time, and the number of its file.
struct Piece {
    file: usize,
    content: Content,
}

enum Content {
    Objects(Vec<Cut>),
    /// A whole file, which is short.
    Json(Vec<u8>),
    /// Nothing: the file could not be read any further.
    Fault(Stop),
}

impl Piece {
    fn parse(self, settings: &SourceSettings) -> Parsed {
        let mut events = Vec::new();
        let mut sink = |event| events.push(event);
        let done = match self.content {
            Content::Objects(objects) => {
                let mut objects = objects.iter();
                objects.try_for_each(|object| object.send(settings, &mut sink))
            }
            Content::Json(text) => json::whole(&text, settings, &mut sink),
            Content::Fault(stop) => Err(stop),
        };
        done.map(|()| events).map_err(|stop| (self.file, stop))
    }
}

/// Events, or what stopped them in which file.
type Parsed = Result<Vec<Event>, (usize, Stop)>;

/// Sends what the files hold, in their order, parsed by so many threads.
pub(super) fn load(
    files: &[PathBuf],
    threads: usize,
    settings: &SourceSettings,
    sink: &mut impl FnMut(Event),
) -> Result<(), ManifestError> {
    thread::scope(|scope| {
        let parser = |_| {
            let (pieces, given) = sync_channel::<Piece>(1);
            let (sender, parsed) = sync_channel(1);
            scope.spawn(move || {
                // Whoever finds nobody there ends.
                let mut given = given.into_iter();
                given.try_for_each(|piece| sender.send(piece.parse(settings)))
            });
            (pieces, parsed)
        };
        let (pieces, parsed): (Vec<_>, Vec<Receiver<Parsed>>) = (0..threads).map(parser).unzip();
        scope.spawn(move || Cutter { pieces, given: 0 }.cut_all(files));
        // The first that has nothing more is the first that was given nothing more.
        for parsed in parsed.iter().cycle() {
            let Ok(parsed) = parsed.recv() else { break };
            let events = parsed.map_err(|(file, stop)| stop.of(&files[file]))?;
            events.into_iter().for_each(&mut *sink);
        }
        Ok(())
    })
}

/// Gives pieces to the threads in turns.
struct Cutter {
    pieces: Vec<SyncSender<Piece>>,
    given: usize,
}

impl Cutter {
    fn cut_all(mut self, files: &[PathBuf]) {
        for (file, path) in files.iter().enumerate() {
            if let Err(stop) = self.cut(file, path) {
                // If nobody is there any more, nobody hears of it.
                let _ = self.give(file, Content::Fault(stop));
                return;
            }
        }
    }

    fn cut(&mut self, file: usize, path: &Path) -> Result<(), Stop> {
        let (format, mut reader) = open(path)?;
        let (mut objects, mut len) = (Vec::new(), 0);
        let mut each = |found: Found<'_>, head| {
            let cut = Cut::new(found, head);
            len += cut.text.len();
            objects.push(cut);
            if len < PIECE_LEN {
                return Ok(());
            }
            len = 0;
            self.give(file, Content::Objects(take(&mut objects)))
        };
        let done = match format {
            Format::Yaml => yaml::read(reader, &mut each),
            Format::Json => {
                let start = json::start(&mut reader)?;
                if start.len() < json::WHOLE_MAX {
                    return self.give(file, Content::Json(start));
                }
                json::stream(start.chain(reader), &mut each)
            }
        };
        // What is wrong with an object comes before what is wrong behind it.
        self.give(file, Content::Objects(objects))?;
        done
    }

    /// Gives a piece to the thread whose turn it is; an error if nobody wants it.
    fn give(&mut self, file: usize, content: Content) -> Result<(), Stop> {
        let thread = &self.pieces[self.given % self.pieces.len()];
        self.given += 1;
        let given = thread.send(Piece { file, content });
        given.map_err(|_| Stop::Io(io::ErrorKind::BrokenPipe.into()))
    }
}
