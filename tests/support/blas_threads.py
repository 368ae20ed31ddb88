"""Number of threads with which NumPy and SciPy compute."""

from threadpoolctl import threadpool_info, threadpool_limits


def threads_inside(monkeypatch, owner, name, run):
    """Returns the numbers of threads inside a function, of all its calls, where two are allowed.

    Args:
        monkeypatch: The fixture of pytest.
        owner: Module or object with the function.
        name: Name of the function.
        run: Function without arguments that leads to the calls.
    """
    seen, original = set(), getattr(owner, name)

    def watched(*arguments, **options):
        seen.update(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, watched)
    with threadpool_limits(2):
        run()
    return seen
