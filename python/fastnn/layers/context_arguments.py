"""Calls with values that are not the layer's own arguments: those of the calls around it, and other values of variables."""
from .calling import context


class ContextArguments:
    """Mix-in of Layer: arguments that pass from a call to the calls inside of it, as `training` does; and
    `stateless_call`."""

    # Arguments of calls that layers inside get without being given them, beside `training`.
    _context_names = ()
    _in_context = False

    @property
    def _call_context_args(self):
        return ("training", *self._context_names)

    def _register_call_context_args(self, *names):
        """Passes the arguments `names` of a call on to all layers called inside of it that have registered them, too.

        Raises:
            RuntimeError: the layer was called before.
        """
        if self._settled or self._inbound_nodes:
            raise RuntimeError(f"[{self.name}] Cannot add call-context args after the layer has been called. Received: {names}")
        self._context_names = tuple(dict.fromkeys((*self._context_names, *names)))

    def _call_in_context(self, args, kwargs):
        """A call with the registered arguments: those given, else those of the layers around."""
        outer = context.values
        inside = {**outer, **{name: kwargs[name] for name in self._context_names if kwargs.get(name) is not None}}
        for name in self._context_names:
            if name in self._signature.parameters:
                if inside.get(name) is not None:
                    kwargs[name] = inside[name]
            else:
                kwargs.pop(name, None)
        context.values = inside
        self.__dict__["_in_context"] = True
        try:
            return self(*args, **kwargs)
        finally:
            self.__dict__["_in_context"] = False
            context.values = outer

    def stateless_call(self, trainable_variables, non_trainable_variables, *args, return_losses=False, **kwargs):
        """Calls the layer with other values of its variables, which stay as they are.

        Args:
            trainable_variables: values for `trainable_variables`, in their order.
            non_trainable_variables: values for `non_trainable_variables`.
            args, kwargs: of the call.
            return_losses: bool; return `losses`, too.

        Returns:
            (outputs, values of non_trainable_variables after the call), and the losses if asked for.

        Raises:
            ValueError: the layer is not built, or a count or shape differs.
        """
        if not self.built:
            raise ValueError(f"[{self.name}.stateless_call] needs a layer that is built")
        own = [*self.trainable_variables, *self.non_trainable_variables]
        values = [*trainable_variables, *non_trainable_variables]
        if len(values) != len(own) or len(self.trainable_variables) != len(trainable_variables):
            raise ValueError(
                f"[{self.name}.stateless_call] needs {len(self.trainable_variables)} trainable and "
                f"{len(self.non_trainable_variables)} other values. Received: {len(trainable_variables)} and "
                f"{len(non_trainable_variables)}")
        before = [variable.value for variable in own]
        try:
            for variable, value in zip(own, values):
                variable.assign(value)
            outputs = self(*args, **kwargs)
            losses = self.losses if return_losses else None
            after = [variable.value for variable in own[len(trainable_variables):]]
        finally:
            for variable, value in zip(own, before):
                variable.assign(value)
        return (outputs, after, losses) if return_losses else (outputs, after)
