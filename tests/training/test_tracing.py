"""Programs have the same names in every process, so that the cache of programs finds them."""

from collections import Counter
from threading import Thread

import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from vaetune.training.padded import tracing as tracing_module
from vaetune.training.padded.tracing import tracing


@pytest.fixture
def begin_process(monkeypatch):
    """Lets the same descriptions count as new ones, as in another process."""

    def begin():
        monkeypatch.setattr(tracing_module, "_traced", Counter())

    begin()
    return begin


def trace(description):
    """The names of all functions of a program with a loop."""

    def program():
        return tf.while_loop(lambda i: i < 3, lambda i: (i + 1,), (tf.constant(0),))

    with tracing(description):
        concrete = tf.function(program, autograph=False).get_concrete_function()
    inside = concrete.graph.as_graph_def().library.function
    return [concrete.name, *sorted(function.signature.name for function in inside)]


def test_names_do_not_depend_on_what_the_process_traced_before(begin_process):
    names = trace("a")
    assert len(names) == 3, "the program, the body of the loop and its condition"
    trace("b")
    begin_process()
    tf.function(lambda: tf.constant(1) + 1, autograph=False).get_concrete_function()
    trace("b")
    assert trace("a") == names


def test_each_tracing_in_a_process_has_its_own_names(begin_process):
    names = [*trace("a"), *trace("a"), *trace("b")]
    assert len(set(names)) == 9


def test_other_threads_and_later_functions_have_the_numbers_of_the_process(begin_process):
    before, inside = ops.uid(), []
    with tracing("a"):
        thread = Thread(target=lambda: inside.append(ops.uid()))
        thread.start()
        thread.join()
        assert ops.uid() > 2**20 + before
    after = ops.uid()
    assert before < inside[0] < after < before + 100
