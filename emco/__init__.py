"""The kernel of emco: everything the API, the workflows and the activities share."""
