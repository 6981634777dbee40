//! `pushpull collect`: the collector by itself.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use super::{
    Failure, logs,
    names::{self, Names},
    reload::Reload,
    signals::Signals,
    sockets::{Binder, Taken},
    startup::{self, Page, Views},
};
use crate::{
    collector::{Collector, Sockets},
    config::{Collect, LogFormat},
    net::{OpenFiles, Stop},
};

pub(super) fn run(settings: &Collect, log: LogFormat) -> Result<(), Failure> {
    let open_files = OpenFiles::raise();
    let terms = startup::terms(&open_files, startup::files_of_spool(&settings.collector));
    let mut binder = Binder::default();
    let names = Names::look_up(names::of_collector(&settings.collector));
    let sockets = binder.collector(&settings.collector, Taken::Fail, &names);
    let tls = settings.tls.as_ref().and_then(|files| binder.tls(files));
    let console = settings.console.as_ref().map(|listen| binder.tcp(listen, Taken::Fail));
    binder.finish()?;
    // A socket that is not there was a problem.
    let Some((sockets, addresses)) = sockets else { return Ok(()) };
    let sockets = Sockets { tls, terms: terms.clone(), ..sockets };
    let console = console.flatten();
    let mut page = Page::collector(&addresses, &settings.collector, &names);
    page.over_tls = settings.tls.is_some();
    let token_file = settings.console_page.token_file.as_deref();
    page.add_console(console.as_ref().map(|(_, address)| *address), token_file)?;
    page.add_way_to_look();
    let reload = Reload::of(settings, sockets.tls.as_ref(), page.token.as_ref());
    logs::install(log, None)?;
    open_files.log();
    let runtime = Builder::new_multi_thread()
        .thread_name("collector")
        .event_interval(TASKS_BETWEEN_EVENTS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let signals = Signals::listen(reload.at_hangup(), Some(settings.stop_within))?;
        let collector = Collector::start(&settings.collector, sockets).map_err(startup::failed)?;
        let pages = Stop::default();
        let views = Views {
            collector: Some(collector.pipeline().clone()),
            hosts: collector.hosts().clone(),
            ..Views::default()
        };
        let served = startup::serve_console(console, &page, &settings.console_page, views, terms, &pages)?;
        page.print(log);
        let lost = tokio::select! {
            () = signals.first() => false,
            () = collector.lost() => true,
        };
        let deadline = Instant::now() + settings.stop_within.mul_f64(STOP_SHARE);
        pages.cut();
        collector.stop(deadline).await;
        if let Some(served) = served {
            served.await?;
        }
        if lost {
            return Err(
                anyhow::anyhow!("another process has the folder of --spool: stop one of the two").into()
            );
        }
        Ok::<_, Failure>(())
    })?;
    // What still runs in a blocking call is left behind.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(())
}

/// The collector's share of the time to stop; the rest is for the process to end.
const STOP_SHARE: f64 = 0.9;

/// A task here may take milliseconds, to read a large request and write its lines. With tokio's 61 of them between two
/// looks at the sockets, senders that never pause would leave carbon's connection hardly a turn.
const TASKS_BETWEEN_EVENTS: u32 = 8;
