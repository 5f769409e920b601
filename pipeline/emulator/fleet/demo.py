"""The demo fleet: three pools and some 300 nodes, for `nodelake demo` and for experiments."""

from ..config import (
    Autoscale,
    FaultyNodes,
    FleetConfig,
    Image,
    PoolConfig,
    Rates,
    Resize,
    Shortage,
    StartTask,
    Storm,
    Work,
)


def _demo_pools() -> tuple[PoolConfig, ...]:
    return (
        PoolConfig(
            id="render",
            profile="render",
            vm_size="standard_d8s_v5",
            dedicated=96,
            autoscale=Autoscale(min_dedicated=70, max_dedicated=132),
            start_task=StartTask(seconds=50.0, failure_rate=0.06, changes_after_hours=(15.0,)),
            faulty_nodes=FaultyNodes(black_hole=1, flapping=1, stuck=1),
            storms=(Storm(after_hours=9.0, hours=1.5, failure_rate=0.7, reboot_share=0.15),),
            agent_releases_after_hours=(5.0,),
            image_releases_after_hours=(8.0,),
            removals_per_day=6.0,
        ),
        PoolConfig(
            id="simulation-spot",
            profile="spot",
            vm_size="standard_f16s_v2",
            dedicated=8,
            spot=112,
            task_slots=2,
            work=Work(task_minutes=22.0, gang_every_hours=6.0, gang_size=6),
            rates=Rates(preemptions=0.6),
            # A resize wants eight more nodes; none comes for four hours; another resize undoes it.
            resizes=(
                Resize(after_hours=14.0, dedicated=16),
                Resize(after_hours=18.0, dedicated=8),
            ),
            shortages=(Shortage(after_hours=14.0, hours=4.0, dedicated=8),),
            faulty_nodes=FaultyNodes(flapping=1),
            preemption_wave_hours=(3.5, 13.25),
            preemption_wave_share=0.25,
            agent_releases_after_hours=(11.0,),
        ),
        PoolConfig(
            id="training-containers",
            profile="containers",
            vm_size="standard_nc24ads_a100_v4",
            dedicated=72,
            work=Work(task_minutes=35.0, idle_minutes=20.0, failure_rate=0.05),
            start_task=StartTask(seconds=150.0, failure_rate=0.25, retry_limit=1),
            rates=Rates(
                reboots=0.15, unusable=0.10, errors=0.10, os_upgrades=0.10, deallocations=0.15
            ),
            faulty_nodes=FaultyNodes(black_hole=1),
            resizes=(Resize(after_hours=10.0, dedicated=84),),
        ),
    )


_IMAGES = (
    Image(
        publisher="canonical",
        offer="ubuntu-24_04-lts",
        sku="server",
        node_agent_sku_id="batch.node.ubuntu 24.04",
        capabilities=("NvidiaGridDriverInstalled",),
        ends_after_days=45.0,
    ),
)


def demo_fleet() -> FleetConfig:
    """Return the demo fleet; ``data/fleets/demo.toml`` declares the same fleet."""
    return FleetConfig(pools=_demo_pools(), images=_IMAGES)
