//! Prints ours beside floors and peers, with the goals and what falls short of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use steadfast_benches::counting::Counting;
use steadfast_benches::loopback::{Smol, Tokio};
use steadfast_benches::measure::Plan;
use steadfast_benches::sections::{core, datagram, growth, loopback, loss, server};
use steadfast_benches::table::{Row, Table};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures ours beside floors and peers, and prints one table.
#[derive(Parser)]
struct Args {
    /// Only sections whose name starts with this: core-64, core-1024, core-65536, datagram-64, datagram-1024, datagram-65536,
    /// tokio-current, tokio-multi, smol-current, smol-multi, udp-tokio-current, udp-tokio-multi, udp-smol-current,
    /// udp-smol-multi, loss-bulk, loss-reordering, loss-stream, loss-sharing, server-idle, server-storm.
    #[arg(long, default_value = "")]
    only: String,
    /// Few and short rounds: to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// Measure how cost grows as well, and draw that into this folder. Not with --only.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Run one contender (ours, seqack, hand, or a peer as the table calls it) and nothing else, for a profiler: with --only
    /// core-SIZE or datagram-SIZE, or tokio-current-SIZE, tokio-multi-SIZE, smol-SIZE, udp-tokio-current-SIZE or
    /// udp-smol-SIZE for one-way throughput.
    #[arg(long)]
    alone: Option<String>,
    /// How many batches of about 64 KiB the one contender exchanges.
    #[arg(long, default_value_t = 1000)]
    iterations: usize,
    /// Measure in this process, and print the rows as JSON.
    #[arg(long, hide = true)]
    child: bool,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A part of the table, measured in a process of its own: with fresh memory, and so many threads for smol.
struct Section {
    name: &'static str,
    smol_threads: &'static str,
    measure: fn(Plan) -> Outcome<Vec<Row>>,
}

/// glibc gives memory at the end of the heap back to the system whenever there is enough of it, and takes it again for the
/// next batch. Whether that happens depends on what else lies there, and costs more than many a batch.
const KEEP_MEMORY: [(&str, &str); 2] = [("MALLOC_TRIM_THRESHOLD_", "1073741824"), ("MALLOC_TOP_PAD_", "16777216")];

const fn section(name: &'static str, measure: fn(Plan) -> Outcome<Vec<Row>>) -> Section {
    Section { name, smol_threads: "1", measure }
}

const SECTIONS: [Section; 20] = [
    section("core-64", |plan| Ok(core::rows(plan, 64))),
    section("core-1024", |plan| Ok(core::rows(plan, 1 << 10))),
    section("core-65536", |plan| Ok(core::rows(plan, 64 << 10))),
    section("datagram-64", |plan| Ok(datagram::rows(plan, 64))),
    section("datagram-1024", |plan| Ok(datagram::rows(plan, 1 << 10))),
    section("datagram-65536", |plan| Ok(datagram::rows(plan, 64 << 10))),
    section("tokio-current", |plan| {
        Ok(loopback::rows(plan, "tokio, 1 thread", &Tokio::current_thread()?, &loopback::with_peers()))
    }),
    section("tokio-multi", |plan| {
        Ok(loopback::rows(plan, "tokio, 2 threads", &Tokio::multi_thread()?, &loopback::with_peers()))
    }),
    section("smol-current", |plan| Ok(loopback::rows(plan, "smol, 1 thread", &Smol, &loopback::ours()))),
    Section {
        smol_threads: "2",
        ..section("smol-multi", |plan| Ok(loopback::rows(plan, "smol, 2 threads", &Smol, &loopback::ours())))
    },
    section("udp-tokio-current", |plan| {
        let both = loopback::udp_beside_quinn();
        Ok(loopback::udp_rows(plan, "UDP, tokio, 1 thread", &Tokio::current_thread()?, &both))
    }),
    section("udp-tokio-multi", |plan| {
        let both = loopback::udp_beside_quinn();
        Ok(loopback::udp_rows(plan, "UDP, tokio, 2 threads", &Tokio::multi_thread()?, &both))
    }),
    section("udp-smol-current", |plan| {
        Ok(loopback::udp_rows(plan, "UDP, smol, 1 thread", &Smol, &loopback::udp_beside_tcp()))
    }),
    Section {
        smol_threads: "2",
        ..section("udp-smol-multi", |plan| {
            Ok(loopback::udp_rows(plan, "UDP, smol, 2 threads", &Smol, &loopback::udp_beside_tcp()))
        })
    },
    section("loss-bulk", |plan| Ok(loss::bulk_rows(plan))),
    section("loss-reordering", |plan| Ok(loss::reordering_rows(plan))),
    section("loss-stream", |plan| Ok(loss::stream_rows(plan))),
    section("loss-sharing", |plan| Ok(loss::sharing_rows(plan))),
    section("server-idle", |plan| Ok(server::idle_rows(plan))),
    section("server-storm", |plan| Ok(server::storm_rows(plan))),
];

impl Args {
    fn plan(&self) -> Plan {
        if self.quick { Plan::QUICK } else { Plan::FULL }
    }

    fn sections(&self) -> impl Iterator<Item = &'static Section> {
        SECTIONS.iter().filter(|section| section.name.starts_with(&self.only))
    }

    /// This program again, as a process that measures.
    fn child(&self) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--child").args(self.quick.then_some("--quick")).envs(KEEP_MEMORY);
        command.stderr(Stdio::inherit());
        Ok(command)
    }

    fn print_table(&self) -> Outcome<()> {
        let mut table = Table::default();
        for section in self.sections() {
            eprintln!("measuring {}", section.name);
            let mut child = self.child()?;
            let output = child.args(["--only", section.name]).env("SMOL_THREADS", section.smol_threads).output()?;
            if !output.status.success() {
                return Err(format!("{} failed: {}", section.name, output.status).into());
            }
            table.rows.extend(serde_json::from_slice::<Vec<Row>>(&output.stdout)?);
        }
        print!("{table}");
        Ok(())
    }

    fn draw(&self, folder: &Path) -> Outcome<()> {
        eprintln!("drawing into {}", folder.display());
        let status = self.child()?.arg("--plots").arg(folder).status()?;
        if status.success() { Ok(()) } else { Err(format!("the plots failed: {status}").into()) }
    }

    fn run_alone(&self, contender: &str) -> Outcome<()> {
        let (section, bytes) = self.only.rsplit_once('-').ok_or("--alone goes with --only SECTION-SIZE")?;
        let (bytes, batches) = (bytes.parse()?, self.iterations);
        let count = match section {
            "core" => core::alone(contender, bytes, batches),
            "datagram" => datagram::alone(contender, bytes, batches),
            "tokio-current" => {
                let peers = loopback::with_peers();
                loopback::alone(contender, bytes, batches, &Tokio::current_thread()?, &peers)
            }
            "tokio-multi" => {
                let peers = loopback::with_peers();
                loopback::alone(contender, bytes, batches, &Tokio::multi_thread()?, &peers)
            }
            "smol" => loopback::alone(contender, bytes, batches, &Smol, &loopback::ours()),
            "udp-tokio-current" => {
                let both = loopback::udp_beside_quinn();
                loopback::alone(contender, bytes, batches, &Tokio::current_thread()?, &both)
            }
            "udp-smol" => loopback::alone(contender, bytes, batches, &Smol, &loopback::udp_beside_tcp()),
            _ => None,
        };
        println!("{} messages", count.ok_or("there is no such section or contender")?);
        Ok(())
    }

    fn run(&self) -> Outcome<()> {
        match (&self.alone, &self.plots) {
            (Some(contender), _) => self.run_alone(contender),
            (None, Some(folder)) if self.child => {
                growth::plots(self.plan()).iter().try_for_each(|plot| plot.draw(folder))
            }
            (None, None) if self.child => {
                let rows = self.sections().map(|section| (section.measure)(self.plan()));
                let rows: Vec<Row> = rows.collect::<Outcome<Vec<_>>>()?.into_iter().flatten().collect();
                println!("{}", serde_json::to_string(&rows)?);
                Ok(())
            }
            (None, plots) => {
                self.print_table()?;
                let plots = plots.as_deref().filter(|_| self.only.is_empty());
                plots.map_or(Ok(()), |folder| self.draw(folder))
            }
        }
    }
}

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
