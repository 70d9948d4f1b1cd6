"""Every key that the tests use. None of them may appear in a log."""

CLIENT = "sk-client-Vq3nT8wLr5ZyK1mHc7Xe"
OTHER_CLIENT = "sk-other-Jd6bPz2fUo9RgWs4Nk0a"
MAPPED_CLIENT = "sk-mapped-Yt5cMx8iEv1QhBl3Df7u"
WRONG_CLIENT = "sk-proj-wrong-Gn4sKe9aTp6JzXo2MxYA"
UPSTREAM = "sk-upstream-Lw7rCb1vHy4FqNd8Ug3j"
MAPPED_UPSTREAM = "sk-team-upstream-Zk2mVt6xPa9SeRi5Oc0f"

ALL = (CLIENT, OTHER_CLIENT, MAPPED_CLIENT, WRONG_CLIENT, UPSTREAM, MAPPED_UPSTREAM)
