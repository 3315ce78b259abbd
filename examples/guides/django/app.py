"""A chat endpoint behind a middleware that asks Portico before the view asks the model. One file, to be read."""

import json
import os
import secrets
import sys
from collections.abc import Callable

import httpx
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from portico_client import Invalid, Portico, PorticoError

settings.configure(
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or secrets.token_hex(32),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.PorticoGuard"],
    GUARDED=["/chat"],
)


class PorticoGuard:
    """Refuses a POST to one of the paths in GUARDED whose `message` is an attack."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.portico = Portico()  # one for the whole process: it keeps its connections

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST" and request.path in settings.GUARDED:
            refusal = self.check(request)
            if refusal is not None:
                return refusal
        return self.get_response(request)

    def check(self, request: HttpRequest) -> HttpResponse | None:
        try:
            message = json.loads(request.body)["message"]
            verdict = self.portico.detect(str(message))
        except (ValueError, TypeError, KeyError):
            return JsonResponse({"code": "no_message"}, status=400)
        except Invalid as error:  # no text, or longer than 10,000 characters
            return JsonResponse({"code": error.code}, status=422)
        except PorticoError:
            # Closed: what nobody has checked does not reach the model. `return None` would leave it open.
            return JsonResponse({"code": "guard_unavailable"}, status=503)
        if verdict.is_malicious:
            return JsonResponse({"code": "prompt_injection", "threat_types": verdict.threat_types}, status=422)
        return None


def chat(request: HttpRequest) -> HttpResponse:
    message = str(json.loads(request.body)["message"])
    answer = httpx.post(os.environ["MODEL_URL"], json={"message": message})
    return JsonResponse({"answer": answer.json()["answer"]})


urlpatterns = [path("chat", chat)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
