//! Sessions that a client asks for at a server which does not hold them.

use std::time::Duration;

use steadfast::{
    Bytes, Code, Config, Event, LinkId, LinkKind, OnLoss, ProtocolCode, ServerConfig, ServerEvent, SessionId, State,
};
use steadfast_sim::{Break, Dialling, End, ServerIx, World};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A client whose session is at the owner and which asks the stranger for it, because the owner could not be reached.
struct Scene {
    world: World,
    client: End,
    owner: End,
    stranger: ServerIx,
    link: LinkId,
    session: SessionId,
    /// The owner's.
    address: &'static str,
}

fn instance(instance: u64) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.instance = instance;
    config.hello_timeout = 2 * SECOND;
    config
}

impl Scene {
    fn new() -> Scene {
        Scene::over(LinkKind::Stream, "owner")
    }

    fn over(kind: LinkKind, address: &'static str) -> Scene {
        let mut world = World::new(1);
        world.conditions.kind = kind;
        world.serve(address, instance(1));
        let stranger = world.serve("stranger", instance(2));
        let mut config = Config::default();
        config.on_loss = OnLoss::Reopen;
        let client = world.idle_client(config, &[address, "stranger"], Bytes::new());
        world.with(client, |socket, now| socket.connect(now));
        let owner = world.wait_for_peer(client, SECOND);
        let session = world.socket(client).session_id().expect("a session");
        world.events(client);

        world.conditions.dialling = Dialling::Refused;
        world.break_link(world.link_of(client).expect("a link"), Break::Reset);
        world.send(client, "kept").unwrap();
        let tried = world.dials().len();
        world.run_until("the owner is tried", SECOND, |world| world.dials().len() > tried);
        world.run_for(2 * MILLISECOND);
        world.conditions.dialling = Dialling::Works;
        world.run_for(SECOND);
        let [ServerEvent::Foreign(link, asked)] = world.server_events(stranger)[..] else { panic!("nobody asked") };
        assert_eq!((asked, asked.instance()), (session, 1));
        assert_eq!(world.state(client), State::Connecting, "it waits for the answer");
        Scene { world, client, owner, stranger, link, session, address }
    }

    fn resumes(&mut self) {
        let Scene { world, client, owner, session, address, .. } = self;
        world.run_until("ready", 30 * SECOND, |world| world.state(*client) == State::Ready);
        assert_eq!(world.dials().last().map(|(.., address)| &**address), Some(*address));
        assert_eq!(world.socket(*client).session_id(), Some(*session));
        world.run_for(SECOND);
        assert_eq!(world.texts(*owner), ["kept"]);
        assert!(world.server(self.stranger).is_empty());
    }
}

fn lost(events: &[Event]) -> Vec<Code> {
    let code = |event: &Event| match event {
        Event::LinkLost(loss) => Some(loss.reason.code),
        _ => None,
    };
    events.iter().filter_map(code).collect()
}

#[test]
fn a_client_that_is_redirected_to_its_sessions_owner_resumes_there() {
    let mut scene = Scene::new();
    let link = scene.link;
    scene.world.command(scene.stranger, |server, now| server.redirect(now, link, "owner")).unwrap();
    scene.world.run_for(100 * MILLISECOND);
    scene.resumes();
}

#[test]
fn a_session_whose_owner_is_proven_gone_is_lost() {
    let mut scene = Scene::new();
    let link = scene.link;
    scene.world.command(scene.stranger, |server, now| server.disown(now, link));
    scene.world.run_for(SECOND);
    let events = scene.world.events(scene.client);
    let lost = events.iter().find_map(|event| match event {
        Event::SessionLost(lost) => Some((lost.reason.code, lost.unconfirmed)),
        _ => None,
    });
    assert_eq!(lost, Some((Code::Protocol(ProtocolCode::UnknownSession), 1)));
}

#[test]
fn without_an_answer_about_a_session_of_elsewhere_the_client_asks_again_and_keeps_it() {
    let mut scene = Scene::new();
    scene.world.run_for(3 * SECOND);
    let events = scene.world.events(scene.client);
    assert!(lost(&events).contains(&Code::Protocol(ProtocolCode::TryLater)), "{events:?}");
    scene.resumes();
}

#[test]
fn an_answer_about_a_session_of_elsewhere_that_comes_too_late_means_nothing() {
    let mut scene = Scene::new();
    let link = scene.link;
    scene.world.break_link(link, Break::Reset);
    scene.world.run_for(MILLISECOND);
    scene.world.command(scene.stranger, |server, now| server.disown(now, link));
    scene.world.command(scene.stranger, |server, now| server.redirect(now, link, "nowhere")).unwrap();
    scene.resumes();
}

#[test]
fn an_address_over_its_limit_is_refused_to_the_application() {
    let mut scene = Scene::new();
    let (link, address) = (scene.link, "a".repeat(steadfast::MAX_ADDRESS));
    let redirect = |scene: &mut Scene, address: String| {
        scene.world.command(scene.stranger, |server, now| server.redirect(now, link, &address))
    };
    let refused = redirect(&mut scene, format!("{address}a")).unwrap_err();
    assert_eq!(refused.to_string(), "address is 1025 bytes: it must be at most 1,024 bytes");
    assert_eq!(redirect(&mut scene, address.clone()), Ok(()));
    scene.world.run_for(SECOND);
    assert!(scene.world.dials().iter().any(|(.., dialled)| **dialled == *address));
}

#[test]
fn a_redirect_over_datagrams_arrives_however_long_the_address_is() {
    let owner: &str = format!("{:a>1024}", "").leak();
    let mut scene = Scene::over(LinkKind::Datagram { mtu: 1200 }, owner);
    let link = scene.link;
    scene.world.command(scene.stranger, |server, now| server.redirect(now, link, owner)).unwrap();
    scene.world.run_for(100 * MILLISECOND);
    scene.resumes();
}
