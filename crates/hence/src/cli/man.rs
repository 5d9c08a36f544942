//! `hence man`: the man pages, made from the command line's own description. For packagers.

use super::{Cli, Outcome};
use crate::exit::{TROUBLE, Trouble};
use clap::CommandFactory;
use std::path::PathBuf;

/// Writes the man pages of hence and of every verb.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Man {
    /// The folder that they go to.
    folder: PathBuf,
}

impl Man {
    pub fn run(self) -> Outcome {
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.folder));
        match written {
            Ok(()) => Ok(0),
            Err(e) => Err(Trouble::new(
                TROUBLE,
                format!("cannot write man pages to {}: {e}", self.folder.display()),
            )),
        }
    }
}
