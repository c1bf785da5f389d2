from ser.training.stopping import Stopping


def run(losses, improvement=0.002):
    state = Stopping()
    states = []
    for epoch, loss in enumerate(losses, 1):
        state = state.after(epoch, loss, improvement)
        states.append(state)
    return states


def test_an_improvement_is_relative_and_the_least_loss_is_kept():
    states = run([1.0, 0.999, 0.9985, 0.997, 1.2, 0.996])
    # 0.998 is what 1.0 has to fall below
    assert [s.num_bad_epochs for s in states] == [0, 1, 2, 0, 1, 2]
    assert [s.best_epoch for s in states] == [1, 2, 3, 4, 4, 6]
    assert [s.reference for s in states] == [1.0, 1.0, 1.0, 0.997, 0.997, 0.997]


def test_small_steps_add_up_against_the_last_reference():
    assert [s.num_bad_epochs for s in run([1.0, 0.9989, 0.9979])] == [0, 1, 0]
