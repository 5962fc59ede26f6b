//! What libpam makes of a service's files for one stage.

use std::path::PathBuf;

use crate::folders::{Folders, ReadFault};
use crate::service::{Module, Service, What};
use crate::{Action, Actions, Stage};

/// Deepest chain of includes; libpam's own limit.
pub const MAX_DEPTH: usize = 16;
/// Most lines of a stack: includes could multiply without end.
pub const MAX_HANDLERS: usize = 4096;
/// The service whose lines stand in for the stages that a service has none for.
const OTHER: &str = "other";

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// All that a login of a service comes through in one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The service.
    pub service: String,
    /// The stage.
    pub stage: Stage,
    /// Its lines, in order.
    pub handlers: Vec<Handler>,
    /// Whether they are those of `other`, as the service has none of its own.
    pub from_other: bool,
    /// Why libpam refuses everything of this service, whatever stands in it.
    pub refused: Option<String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Where it stands.
    pub place: Place,
    /// The lines that include its file, outermost first.
    pub through: Vec<Place>,
    /// How many substacks it is in.
    pub level: usize,
    /// What it is.
    pub kind: Kind,
    /// A mistake in its control, which libpam takes for "always bad".
    pub fault: Option<String>,
}

/// What a line of a stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It calls a module.
    Module(Module),
    /// A substack begins behind it; it counts for jumps only.
    Substack,
    /// It fails: the line, or what it includes, cannot be read. The text says why.
    Fails {
        /// Why.
        why: String,
        /// What becomes of that.
        actions: Actions,
    },
}

impl Handler {
    /// Its module, where it calls one.
    #[must_use]
    pub fn module(&self) -> Option<&Module> {
        match &self.kind {
            Kind::Module(module) => Some(module),
            Kind::Substack | Kind::Fails { .. } => None,
        }
    }

    /// Its line in the service's own file.
    #[must_use]
    pub fn in_service(&self) -> &Place {
        self.through.first().unwrap_or(&self.place)
    }
}

impl Stack {
    /// The stack of a service. A service without a file of its own has that of `other`.
    #[must_use]
    pub fn of(folders: &Folders, service: &str, stage: Stage) -> Self {
        // libpam looks for the name in lower case.
        let service = service.to_ascii_lowercase();
        let mut stack =
            Self { service: service.clone(), stage, handlers: Vec::new(), from_other: false, refused: None };
        let own = folders.read(&service);
        let is_any = own.is_ok();
        if let Ok(seen) = own {
            stack.take(folders, &seen.service);
        }
        if stack.refused.is_some() || service == OTHER {
            return stack;
        }
        match folders.read(OTHER) {
            Ok(seen) => {
                let mut other = Self { handlers: Vec::new(), ..stack.clone() };
                other.take(folders, &seen.service);
                stack.refused = other.refused;
                if stack.handlers.is_empty() {
                    stack.from_other = true;
                    stack.handlers = other.handlers;
                }
            }
            Err(_) if !is_any => {
                stack.refused = Some(format!("there is neither a file \"{service}\" nor one \"{OTHER}\""));
            }
            Err(_) => {}
        }
        stack
    }

    fn take(&mut self, folders: &Folders, file: &Service) {
        let mut reading = Reading { folders, stage: self.stage, handlers: Vec::new() };
        if let Err(why) = reading.file(file, None, 0, 0, &[]) {
            self.refused = Some(why);
        }
        self.handlers = reading.handlers;
    }
}

struct Reading<'a> {
    folders: &'a Folders,
    stage: Stage,
    handlers: Vec<Handler>,
}

impl Reading<'_> {
    /// `wanted`: for which stage the file is included; everything by itself and by `@include` from there. An error:
    /// libpam gives up reading.
    fn file(
        &mut self,
        file: &Service,
        wanted: Option<Stage>,
        depth: usize,
        level: usize,
        through: &[Place],
    ) -> Result<(), String> {
        for line in &file.lines {
            let place = Place { file: file.path.clone(), line: line.first };
            let at = |kind| Handler {
                place: place.clone(),
                through: through.to_vec(),
                level,
                kind,
                fault: line.fault.clone(),
            };
            let bad = Actions::all(Action::Bad);
            let (name, stage, substack) = match &line.what {
                What::Module(module) => {
                    if self.is_for(module.stage, wanted) {
                        self.add(at(Kind::Module(module.clone())))?;
                    }
                    continue;
                }
                What::Broken { stage: None } if !file.is_whole() => {
                    return Err(format!("{place}: {}", line.fault.as_deref().unwrap_or_default()));
                }
                What::Broken { stage } => {
                    if self.is_for(stage.or(wanted).unwrap_or(Stage::Auth), wanted) {
                        let why = line.fault.clone().unwrap_or_default();
                        self.add(at(Kind::Fails { why, actions: bad }))?;
                    }
                    continue;
                }
                What::File { name } => (name, wanted, false),
                What::Lines { stage, name, substack } => {
                    if wanted.is_some_and(|wanted| wanted != *stage) {
                        continue;
                    }
                    (name, Some(*stage), *substack)
                }
            };
            let counts = stage.is_none_or(|stage| stage == self.stage);
            if substack && counts {
                self.add(at(Kind::Substack))?;
            }
            let mut inner = through.to_vec();
            inner.push(place.clone());
            let read = self.included(name, stage, depth + 1, level + usize::from(substack), &inner);
            match (read, stage) {
                (Ok(()), _) => {}
                (Err(why), Some(_)) => {
                    if counts {
                        self.add(at(Kind::Fails { why, actions: bad }))?;
                    }
                }
                // There is no stage in which libpam could put a line that fails: it refuses them all.
                (Err(why), None) => return Err(format!("{place}: {why}")),
            }
        }
        Ok(())
    }

    fn included(
        &mut self,
        name: &str,
        stage: Option<Stage>,
        depth: usize,
        level: usize,
        through: &[Place],
    ) -> Result<(), String> {
        if depth >= MAX_DEPTH {
            return Err(format!("\"{name}\" is included through more than {MAX_DEPTH} files"));
        }
        let seen = self.folders.read(name).map_err(|fault: ReadFault| fault.to_string())?;
        self.file(&seen.service, stage, depth, level, through)
    }

    fn is_for(&self, stage: Stage, wanted: Option<Stage>) -> bool {
        stage == self.stage && wanted.is_none_or(|wanted| wanted == stage)
    }

    fn add(&mut self, handler: Handler) -> Result<(), String> {
        if self.handlers.len() >= MAX_HANDLERS {
            return Err(format!("it has more than {MAX_HANDLERS} lines"));
        }
        self.handlers.push(handler);
        Ok(())
    }
}
