"""What holds for the ensemble as a whole, and while members are lost."""

import uuid

import pytest
from conftest import Ensemble

# one host is enough to start each test once
testinfra_hosts = ["ansible://zookeeper-1"]


@pytest.fixture(autouse=True)
def whole(ensemble: Ensemble) -> None:
    """Begin with all members, whatever the test before left."""
    ensemble.wait_until_whole()


@pytest.fixture
def path() -> str:
    return f"/molecule-{uuid.uuid4()}"


def test_one_leads_and_the_others_follow(ensemble: Ensemble) -> None:
    assert ensemble.modes() == ["follower", "follower", "leader"]
    assert ensemble.hosts[2].check_output("zookeeper-health") == "healthy"
    listening = [
        number
        for number, host in ensemble.hosts.items()
        if host.check_output("ss --no-header --listening --tcp --numeric '( sport = :2888 )'")
    ]
    assert listening == [ensemble.leader()]


def test_only_words_of_the_health_probe_are_answered(ensemble: Ensemble) -> None:
    assert "zk_server_state" in ensemble.ask(1, "mntr")
    for word in ("conf", "cons", "dump", "envi", "wchs"):
        assert "is not in the whitelist" in ensemble.ask(1, word)


def test_a_follower_that_is_killed_is_missed_by_nobody_and_catches_up(ensemble: Ensemble, path: str) -> None:
    lost, other = ensemble.followers()
    ensemble.hosts[lost].check_output("systemctl kill --signal=KILL zookeeper")
    ensemble.write(path, "while it was gone", through=other)
    # the unit starts it again 5 s after it was killed
    ensemble.wait_until_whole()
    assert ensemble.hosts[lost].check_output("systemctl show zookeeper --property=NRestarts --value") != "0"
    assert ensemble.read(path, lost) == "while it was gone"


def test_the_others_choose_another_leader_and_keep_what_was_written(ensemble: Ensemble, path: str) -> None:
    lost = ensemble.leader()
    follower = ensemble.followers()[0]
    ensemble.write(path, "before", through=follower)
    ensemble.hosts[lost].check_output("systemctl kill --signal=KILL zookeeper && systemctl stop zookeeper")
    try:
        assert ensemble.leader() != lost
        ensemble.write(f"{path}-after", "after", through=follower)
        assert ensemble.read(path, follower) == "before"
        health = ensemble.hosts[follower].run("zookeeper-health")
        assert health.rc == 1
        assert f"member {lost} does not answer" in health.stdout
    finally:
        ensemble.hosts[lost].check_output("systemctl start zookeeper")
    ensemble.wait_until_whole()
    assert ensemble.read(path, lost) == "before"
    assert ensemble.read(f"{path}-after", lost) == "after"


def test_a_member_that_the_others_need_is_not_restarted(ensemble: Ensemble) -> None:
    lost, other = ensemble.followers()
    started = "systemctl show zookeeper --property=ActiveEnterTimestampMonotonic"
    before = ensemble.hosts[other].check_output(started)
    ensemble.hosts[lost].check_output("systemctl stop zookeeper")
    try:
        restart = ensemble.hosts[other].run("zookeeper-restart --wait 0")
        assert restart.rc == 1
        assert "cannot do without this member" in restart.stderr
        assert ensemble.hosts[other].check_output(started) == before
    finally:
        # one that does not serve is started in any case
        ensemble.hosts[lost].check_output("zookeeper-restart")
    ensemble.wait_until_whole()


def test_a_member_that_lost_its_data_gets_it_from_the_others_and_does_not_vote_before(
    ensemble: Ensemble, path: str
) -> None:
    lost, other = ensemble.followers()
    leader = ensemble.leader()
    ensemble.write(path, "kept", through=other)
    ensemble.hosts[lost].check_output("systemctl stop zookeeper && rm -r /var/lib/zookeeper/data/version-2")
    ensemble.hosts[leader].check_output("systemctl stop zookeeper")
    try:
        ensemble.hosts[lost].check_output("systemctl start zookeeper")
        up = f"zookeeper-health --member {lost} | grep --quiet 'does not serve'"
        ensemble.hosts[other].check_output("timeout 30 sh -c %s", f"until {up}; do sleep 0.2; done")
        # the one with data and the one without are two of three, and must not decide
        assert ensemble.hosts[other].run("zookeeper-health --leader --wait 5").rc == 1
    finally:
        ensemble.hosts[leader].check_output("systemctl start zookeeper")
    ensemble.wait_until_whole()
    assert ensemble.read(path, lost) == "kept"
