"""Tests for tsl.frontend.grpc_api.turns."""

import asyncio

from tsl.frontend.grpc_api.turns import Turns


def test_turns_come_in_the_order_in_which_they_were_taken():
    async def scenario():
        turns = Turns()
        taken = [turns.take() for _ in range(3)]
        order = []

        async def answer(number):
            await taken[number].come()
            order.append(number)
            taken[number].leave()

        await asyncio.gather(answer(2), answer(1), answer(0))
        return order

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_one_that_leaves_early_is_waited_for_by_nobody():
    async def scenario():
        turns = Turns()
        first, second, third = (turns.take() for _ in range(3))
        second.leave()
        second.leave()
        assert not third.has_come.is_set()
        first.leave()
        await third.come()
        third.leave()
        await turns.take().come()

    asyncio.run(scenario())
